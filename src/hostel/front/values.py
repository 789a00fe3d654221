"""The values of a site that the front needs, spelled in a path, and how the configuration reads them. Pure.

The hard part is that the configuration is fixed, and knows no site. But ``$realpath_root`` is where ``root`` leads when all
links have been followed, and a link of the run tree, ``sites/<site>/values``, leads where the manager wants: to an empty
folder whose name spells the values, as in ``.../sites/blog/spelled/body=0000000001048576;rate=10``. A request's
path, host and headers have no part in it. nginx takes the name apart by the ``map`` of each value.

A number that a directive of nginx's takes only as a constant is there as a choice of constants, each with a key of its own
that is empty, and so does not count, unless it is the site's. A comparison of numbers is one of texts of the same length.
"""

from __future__ import annotations

from typing import get_args

from hostel.front.store import read
from hostel.options.site import Site
from hostel.options.tables import Connections, Rate

BURST_SECONDS = 5  # a client may send so many seconds' worth of requests at once
LENGTH_DIGITS = 16  # of a size in bytes
# The end of a name that has a hash of the content in it: hexadecimal, as Django and webpack make it, or of Vite's alphabet.
# A date is none, nor is a word.
HASHED = (
    r"[/.-](?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,64}(?:\.[A-Za-z0-9]+)+|"
    r"-(?=[^.]*(?:[0-9_]|[A-Z][^.]*[A-Z]))(?=[^.]*[A-Za-z])[A-Za-z0-9_-]{8}(?:\.[A-Za-z0-9]+)+"
)
RATE_ZONE = "4m"  # each for about 20,000 clients; the oldest go first
CONNECTIONS_ZONE = "1m"
VALUES_MAP = "map $realpath_root $hostel_values { default $realpath_root; }"  # as it is where it is asked for first
VALUES_END = "[^/]*$"  # of what has been looked for, in a path whose end spells the values


def spell(site: Site, before: str, now: int) -> str:
    """The name of the folder that tells the front a site's values; empty when it need not know any.

    ``before`` is the name until now. The cache's ``epoch`` in it goes on; when ``before`` has none it becomes ``now``, and what
    was kept from before is not found any more.
    """
    limits, cache = site.limits, site.cache
    words: dict[str, str | int] = {}
    if site.app is not None:
        if limits.body is not None:
            words["body"] = f"{limits.body:0{LENGTH_DIGITS}}"
        if limits.rate is not None:
            words["rate"] = limits.rate
        if limits.connections is not None:
            words["connections"] = limits.connections
        if cache.on:
            words |= {"size": cache.size, "epoch": read(before, "epoch") or now}
            if cache.ignored_cookies:
                words["cookies"] = f",{','.join(cache.ignored_cookies)},"
    if site.static_cache.hashed:
        words["hashed"] = 1
    if site.static_cache.age:
        words["age"] = round(site.static_cache.age)
    return ";".join(f"{name}={value}" for name, value in words.items())


def limit_maps() -> list[str]:
    """What ``http`` needs to have the limits read and counted."""
    values = r"/sites/(?<hostel_its_site>[^/]+)/spelled/[^/]*$"
    lines = [
        f'map $hostel_values $hostel_site {{ default ""; "~{values}" $hostel_its_site; }}',
        *(
            f'map $hostel_values $hostel_most_{name} {{ default ""; "~[/;]{name}=(?<hostel_its_{name}>[0-9]+){VALUES_END}" '
            f"$hostel_its_{name}; }}"
            for name in ("body", "rate", "connections")
        ),
        "# A client of IPv6 has a network of its own: the first half of the address.",
        "map $binary_remote_addr $hostel_client {",
        "    default $binary_remote_addr;",
        '    "~(?s)^(?<hostel_network>.{8}).{8}$" $hostel_network;',
        "}",
        f'map "{"0" * LENGTH_DIGITS}$content_length" $hostel_length {{',
        '    default "";',
        f'    "~(?<hostel_digits>[0-9]{{{LENGTH_DIGITS}}})$" $hostel_digits;',
        "}",
        "# Larger is what has a larger digit behind the digits that are the same.",
        'map "$hostel_length>$hostel_most_body" $hostel_is_over {',
        '    default "";',
        f'    "~^([0-9]*)(?:{larger_digits()})[0-9]*$" 1;',
        "}",
    ]
    for rate in get_args(Rate):
        lines += [
            f'map $hostel_most_rate $hostel_rate_{rate} {{ default ""; {rate} "$hostel_site $hostel_client"; }}',
            f"limit_req_zone $hostel_rate_{rate} zone=hostel_rate_{rate}:{RATE_ZONE} rate={rate}r/s;",
        ]
    for most in get_args(Connections):
        lines += [
            f'map $hostel_most_connections $hostel_connections_{most} {{ default ""; {most} $hostel_site; }}',
            f"limit_conn_zone $hostel_connections_{most} zone=hostel_connections_{most}:{CONNECTIONS_ZONE};",
        ]
    return lines


def age_map() -> list[str]:
    """What ``http`` needs to tell browsers how long to keep a static file."""
    return [
        'map "$hostel_values//$hostel_sent" $hostel_keep {',
        "    volatile;",
        '    default "";',
        f'    "~[/;]hashed=1[^/]*//.*(?:{HASHED})$" "public, max-age=31536000, immutable";',
        '    "~[/;]age=(?<hostel_its_age>[0-9]+)[^/]*//" "public, max-age=$hostel_its_age";',
        "}",
    ]


def larger_digits() -> str:
    r"""A regular expression for what follows ``\1`` in two numbers with ``>`` between them, when the first is larger."""
    return "|".join(rf"{digit}[0-9]*>\1[0-{digit - 1}]" for digit in range(1, 10))


def limit_lines() -> list[str]:
    """What a location needs to hold a site to its limits."""
    return [
        *(f"limit_req zone=hostel_rate_{rate} burst={rate * BURST_SECONDS} nodelay;" for rate in get_args(Rate)),
        *(f"limit_conn hostel_connections_{most} {most};" for most in get_args(Connections)),
    ]
