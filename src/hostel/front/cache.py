r"""What the front keeps of the sites' answers, as far as nginx's configuration says it. Pure.

The hard part is never to give one visitor's answer to another. Kept is what the application allows (``Cache-Control`` or
``Expires``) and nginx takes (no ``Set-Cookie``, no ``Vary: *``), and of that only what is whole, of a known length, and may be
shown when its time is over. Looked for are GET and HEAD of visitors who bring nothing that an answer could depend on and that is
not in the key: no credentials, no cookie but harmless ones, no body, none of the headers by which applications are known to
choose. Everything else passes by the cache. The key begins with the site's own name and the epoch of its cache, which no
request has a part in: so a domain that moves takes nothing along, and after a purge nothing is found.

A request takes one of five ways, ``$hostel_way``:

    keep    a plain GET: from the cache, else from the application, and then it is kept; one at a time asks, the others wait
    free    the same without waiting, since the application's last answer was not one to be kept
    look    HEAD, or only if something has changed, or a range: from the cache, else past it, just as it was asked
    stale   the site does not start: from the cache, be its time over or not, else the page that says so
    pass    past the cache

nginx has no memory for what may not be kept, and its lock is looked at twice a second: visitors who want the same such answer
would wait for each other for seconds. So the access log has the memory: an answer that was not kept is logged into a file
of its own, one of ``BUCKETS`` times ``BUCKETS`` of its site, and while there is such a file nobody waits. ``janitor`` removes
it when it is old.

What may be kept nginx writes to the disk first, and the answer breaks off when that is full. So all pass by the cache then.
"""

from __future__ import annotations

from collections.abc import Mapping

from hostel.front.store import FREE_BYTES, FULL, MODULES, UNKEPT

NOBODY = "hostel_nobody"  # a server that is never asked: what the cache does not have ends as 502
LOCK_SECONDS = 5
BUCKETS = 32
MARK = f"{UNKEPT}/$hostel_site.$hostel_bucket1.$hostel_bucket2"
UNUSED = "1d"  # then it goes, whatever its time
ZONE = "16m"  # for about 128,000 answers
KEPT_DIGITS = 7  # of the length of an answer
KEPT_STATUSES = (200, 203, 300, 301, 302, 307, 308, 404, 410)
MOST_COOKIES = 40  # of one request, that are looked at

# The well-known ones of statistics. A cookie of consent or a CSRF token is not harmless: pages differ by them.
HARMLESS_COOKIES = (
    r"_ga(?:_[^=;]*)?", r"_gid", r"_gat[^=;]*", r"_gcl_[^=;]*", r"__utm[a-z]{1,2}", r"_fb[pc]", r"_pk_[^=;]*", r"_hj[^=;]*",
    r"_cl(?:ck|sk)",
)  # fmt: skip
# Headers by which applications choose an answer, or whom they know by, often without saying so in Vary.
TELLING_HEADERS = (
    "Authorization", "Hx-Request", "Hx-Boosted", "Transfer-Encoding", "Turbo-Frame", "Upgrade", "X-Api-Key", "X-Auth-Token",
    "X-Csrf-Token", "X-Csrftoken", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Pjax", "X-Requested-With",
    "X-Host",
)  # fmt: skip
CONDITIONS = ("If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range")


def cookies_expression() -> str:
    """Matches a Cookie header with harmless cookies only, then a line break and the site's values with those it ignores."""
    name = f"(?:{'|'.join(HARMLESS_COOKIES)}|" + r"([^=;,\s]+)(?==[^\n]*\n[^\n]*,\1,))"
    return rf"^(?:{name}=[^;\n]*(?:; ?|(?=\n))){{0,{MOST_COOKIES}}}\n"


def join(headers: tuple[str, ...]) -> str:
    return "".join(f"$http_{header.lower().replace('-', '_')}" for header in headers)


def map_parts(folders: Mapping[str, str], size: int) -> dict[str, str]:
    """What ``cache_maps.conf`` has a place for: the modules' stores in ``folders``, each of at most ``size`` bytes, and lists."""
    stores = [
        f"    {module}_cache_path {folders[module]} levels=2 keys_zone=hostel_{module}:{ZONE} max_size={size} "
        f"inactive={UNUSED} min_free={FREE_BYTES} use_temp_path=off;"
        for module in MODULES
    ]
    shares = [f"{100 / BUCKETS:.2f}% {bucket};" for bucket in range(1, BUCKETS)]
    buckets = [
        f'    split_clients "{number} $hostel_site $hostel_host$request_uri" $hostel_bucket{number} {{ {" ".join(shares)} * 0; }}'
        for number in (1, 2)
    ]
    return {
        "stores": "\n".join(stores),
        "nobody": NOBODY,
        "harmless_cookies": cookies_expression(),
        "telling_headers": join(TELLING_HEADERS),
        "conditions": join(CONDITIONS),
        "statuses": "|".join(map(str, KEPT_STATUSES)),
        "digits": str(KEPT_DIGITS),
        "buckets": "\n".join(buckets),
        "mark": MARK,
        "full": FULL,
    }


def find_lines(module: str) -> list[str]:
    """What the ways have in common that look into the cache."""
    return [
        f"{module}_cache hostel_{module};",
        f'{module}_cache_key "$hostel_site $hostel_epoch $hostel_scheme $hostel_host$hostel_port $request_uri";',
    ]


def keep_lines(module: str, lock: str = "on") -> list[str]:
    """The ways ``keep`` and ``free``, beside what it takes to ask the application."""
    settings = (
        f"cache_lock {lock}; cache_lock_timeout {LOCK_SECONDS}s; cache_lock_age {LOCK_SECONDS}s; cache_background_update on; "
        "cache_use_stale error timeout invalid_header updating http_500 http_503; "
        "no_cache $hostel_is_unsure $hostel_is_strict $hostel_is_varied; "
        "ignore_headers X-Accel-Expires; hide_header X-Cache; hide_header X-Hostel-Vary; pass_request_body off"
    )
    # The worker has to know that nginx will heed its Vary: worker.response.split_vary.
    told = "uwsgi_param HOSTEL_KEEP 1;" if module == "uwsgi" else "proxy_set_header X-Hostel-Keep 1;"
    return [*find_lines(module), told, *(f"{module}_{setting};" for setting in settings.split("; "))]


def look_lines(module: str, stale: str = "off") -> list[str]:
    """The ways ``look`` and ``stale``: nobody is asked, and nothing but the answer says so."""
    target = NOBODY if module == "uwsgi" else f"http://{NOBODY}"
    return [
        *find_lines(module),
        f"{module}_pass {target};",
        f"{module}_cache_use_stale {stale};",
        f"{module}_hide_header X-Hostel;",
        f"{module}_hide_header X-Cache;",
        f"{module}_hide_header X-Hostel-Vary;",
        "error_page 502 = @unkept;",
        "error_log /dev/null emerg;",
    ]
