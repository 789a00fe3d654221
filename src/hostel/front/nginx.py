"""The one rendered configuration of nginx. Pure: server options in, text out.

The hard part is that it knows no site. A request's host name is a path in the run tree, and what is to be done with the
request is what lies there (``manager.runtree`` has the list): ``www`` has the static files, ``app.sock`` takes uwsgi, and a
mark for each thing that makes a site unusual. So no change of any site changes this text, and no tenant's string ever gets
into it. Paths are relative: nginx works in the run directory, which also leaves the whole of a socket's 107 bytes to the
host name. Looking costs a system call each, and every request pays for all of them, so the usual site has a mark too,
``plain``: two looks are all that most requests need.

Statuses from 461 on are our own, and nobody sees them: ``return 461`` goes to the location that ``error_page 461`` names,
body and method kept; from 480 on (FIRST_ERROR), to an error page. ``if`` is used only with ``return``, which does what it says.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hostel.front import cache
from hostel.front.connection import (
    TRUSTING,
    TRUSTING_NOBODY,
    plain_listen_lines,
    tls_lines,
    trust_lines,
    with_own_places,
)
from hostel.front.pages import PAGES, PAUSES
from hostel.front.store import MODULES
from hostel.front.values import VALUES_MAP, age_map, limit_lines, limit_maps
from hostel.options.fields import MOUNT_PARTS
from hostel.options.site import FILE_PARTS

FIRST_ERROR = 480  # of the statuses that stand for an error page each
LASTING_SECONDS = 3600  # without a sign of life; WebSockets have one every 20 s, uvicorn's pings
WILDCARD_LEVELS = 5  # labels of a host name that "*." may stand for

# Who forwards is known to the front alone: these are set by it or removed. So is everything that begins with
# X-Forwarded-, but it takes a worker to say so: nginx removes headers by their whole names only.
REMOVED_HEADERS = (
    "Proxy", "Forwarded", "X-Forwarded", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Http-Destinationurl", "X-Original-Host",
    "X-Original-Url", "X-Proxyuser-Ip", "X-Real-Ip", "X-Remote-User", "X-Rewrite-Url", "X-Script-Name", "X-Url-Scheme",
    "Front-End-Https", "Remote-User", "True-Client-Ip", "X-Accel-Mapping", "X-Accel-Internal", "X-Sendfile-Type", "X-Hostel",
    "X-Hostel-Keep",
    "X-Hostel-Mount",
)  # fmt: skip
HOP_BY_HOP_HEADERS = (
    "Connection", "Expect", "Http2-Settings", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
    "Transfer-Encoding", "Upgrade",
)  # fmt: skip
# What an application says of a file that it has the front send, besides what nginx keeps by itself.
KEPT_HEADERS = (
    "Access-Control-Allow-Origin", "Content-Encoding", "Content-Language", "Content-Security-Policy",
    "Cross-Origin-Resource-Policy", "Link", "Referrer-Policy", "Vary", "X-Content-Type-Options", "X-Frame-Options",
    "X-Robots-Tag",
)  # fmt: skip
LONE_LAYERS = ("usual", "whole")  # of sites that have no other mappings
# Where files are open for a moment longer than a request. What is not found is not looked for again in the same second.
FILE_CACHE = (
    "open_file_cache max=2000 inactive=10s;", "open_file_cache_valid 1s;", "open_file_cache_min_uses 2;",
    "open_file_cache_errors on;",
)  # fmt: skip
TEXT_TYPES = (
    "text/css",
    "text/csv",
    "text/javascript",
    "text/markdown",
    "text/plain",
    "text/xml",
    "text/calendar",
    "text/vtt",
)
CARRIED_HEADERS = ("Content-Length", "Content-Type")  # these are CGI variables of their own (RFC 3875, section 4.1.18)

OTHER_DESCRIPTORS = 2048  # of one of nginx's processes: files that are sent, bodies that lie on the disk


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """What the configuration depends on: nothing of any site.

    ``listen`` are addresses as nginx writes them; ``user`` and ``group`` are empty when nginx runs unprivileged; sizes are
    bytes, times seconds. Each process of nginx has so many ``connections``, and keeps so many ``logs`` open.
    ``caches_files``: an open file is used for a second before anybody looks whether it is another.
    """

    listen: tuple[str, ...]
    listen_tls: tuple[str, ...]
    trusted_proxy: tuple[str, ...]
    version: tuple[int, ...]  # of the nginx that is to read it
    has_http3: bool
    log_dir: str
    user: str
    group: str
    processes: int
    connections: int
    logs: int
    body: int
    request: float
    cache_dir: str
    cache_size: int
    caches_files: bool = True


def read_text(name: str) -> str:
    """A file of this package as text."""
    return importlib.resources.files("hostel.front").joinpath(name).read_text()


def quote(text: str) -> str:
    """Text as one parameter of nginx's; a dollar sign begins a variable where the directive takes any."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render(options: FrontOptions) -> str:
    """The text of ``nginx.conf``."""
    depths = [str(depth) for depth in range(FILE_PARTS, -1, -1)]
    slashes = "\n".join(
        f"            if (-f $hostel_at/www/{layer}$hostel_path_info/index.html) {{ return 301 $hostel_path/$is_args$args; }}"
        for layer in (*LONE_LAYERS, *depths)
    )
    parents = "\n".join(
        f"    map {'$hostel_host' if n == 1 else f'$hostel_parent{n - 1}'} $hostel_parent{n} "
        f'{{ default "-"; "~^[^.]+\\.(?<hostel_rest{n}>.+)$" $hostel_rest{n}; }}'
        for n in range(1, WILDCARD_LEVELS + 1)
    )
    wildcards = "\n".join(
        f"            set $hostel_at wild/$hostel_parent{n}$hostel_tls;\n            if (-d $hostel_at) {{ return 463; }}"
        for n in range(1, WILDCARD_LEVELS + 1)
    )
    trusting = TRUSTING if options.trusted_proxy else TRUSTING_NOBODY
    codes = {page.kind: FIRST_ERROR + number for number, page in enumerate(PAGES)}
    values = {
        **{kind: str(code) for kind, code in codes.items()},
        "errors": "\n".join(
            f"        error_page {codes[page.kind]} ={page.status} /.hostel/error/{page.status}/{page.kind};"
            for page in PAGES
        ),
        "again": "\n".join(
            f'            if ($hostel_error = "{kind}") {{ return {code}; }}' for kind, code in codes.items()
        ),
        "user": f"user {options.user} {options.group};" if options.user else "",
        "processes": str(options.processes),
        "connections": str(options.connections),
        "descriptors": str(options.connections + options.logs + OTHER_DESCRIPTORS),
        "logs": str(options.logs),
        "front_log": quote(f"{options.log_dir}/front.log"),
        "mime_types": read_text("mime.types"),
        "body": str(options.body),
        "parents": parents,
        **trusting,
        "trust": indent(trust_lines(options.trusted_proxy), 4),
        "tls_port": tls_port(options.listen_tls),
        "wildcards": wildcards,
        "parts": "\n".join(first_parts(n) for n in range(1, MOUNT_PARTS + 1)),
        "mounts": indent(
            line
            for n in range(MOUNT_PARTS, 0, -1)
            for line in (
                f"set $hostel_mount $hostel_part{n};",
                "if (-d $hostel_at/mount$hostel_mount/+) { return 468; }",
            )
        ),
        "layers": indent(look_for_files(depths, "$hostel_wanted")),
        "private_layers": indent(look_for_private_files(depths), 16),
        "redirect_layers": indent(look_for_files([*depths, *LONE_LAYERS], "$hostel_sent"), 16),
        "prefixes": "\n".join(first_parts_of_file(int(depth)) for depth in reversed(depths[:-1])),
        "kept_headers": indent((f"add_header {name} $upstream_http_{variable_of(name)};" for name in KEPT_HEADERS), 16),
        "file_cache": " ".join(FILE_CACHE) if options.caches_files else "",
        "text": f"charset utf-8; charset_types {' '.join(TEXT_TYPES)};",
        "slashes": slashes,
        "links": limit_links("./$hostel_at/www", options),
        "error_links": limit_links("././$hostel_at/www", options),
        "uwsgi": indent([*pass_to("uwsgi", options.request), *uwsgi_parameters(trusting["https"])]),
        "proxy": indent([*pass_to("proxy", options.request), *proxy_parameters()]),
        "lasting_proxy": indent([*pass_to("proxy", max(options.request, LASTING_SECONDS)), *proxy_parameters()]),
        **cache.map_parts({module: quote(f"{options.cache_dir}/{module}") for module in MODULES}, options.cache_size),
        "bodiless_uwsgi": indent(
            [*pass_to("uwsgi", options.request), *uwsgi_parameters(trusting["https"], has_body=False)]
        ),
        "bodiless_proxy": indent(
            [*pass_to("proxy", options.request), *proxy_parameters(), 'proxy_set_header Content-Length "";']
        ),
        **{f"keep_{module}": indent(cache.keep_lines(module)) for module in MODULES},
        **{f"free_{module}": indent(cache.keep_lines(module, "off")) for module in MODULES},
        **{f"look_{module}": indent(cache.look_lines(module)) for module in MODULES},
        **{f"stale_{module}": indent(cache.look_lines(module, "error")) for module in MODULES},
        "limit_maps": indent([VALUES_MAP, *limit_maps(), *age_map()], 4),
        "limits": indent(limit_lines()),
        "retries": "\n".join(f'        "{page.kind}  " {page.retry};' for page in PAGES if page.retry),
        "pauses": "\n".join(
            f"            if (-f $hostel_at/pause.{each}) {{ set $hostel_pause {each}; }}" for each in PAUSES
        ),
    }
    values["ways"] = fill(read_text("ways.conf").rstrip(), values)
    values["cache_maps"] = fill(read_text("cache_maps.conf").rstrip(), values)
    values["cache"] = fill(read_text("cache.conf").rstrip(), values)
    values["values_look"] = fill("            if (-d $hostel_at/values) { return 469; }\n[ways]", values)
    values["looks"] = fill(read_text("looks.conf").rstrip(), values)
    before, server, after = re.split(r"(?ms)^(    server \{\n.*?^    \}\n)", read_text("nginx.conf"))
    servers = [fill_server(server, values | plain_server(options))]
    if options.listen_tls:
        encrypted = fill_server(server, values | tls_server(options, values["misdirected"], values["front_log"]))
        servers.append(with_own_places(encrypted, values["front_log"]))
    return fill(before, values) + "\n".join(servers) + fill(after, values)


def fill_server(template: str, values: Mapping[str, str]) -> str:
    """The text of one server, its places for files and errors included: those say more than it, and repeat what it says."""
    inner = {
        **values,
        "server_headers": " ".join(
            re.findall(r"^ {8}(add_header .*;)$", f"{values['listen']}\n{template}", re.MULTILINE)
        ),
    }
    inner["answer"] = fill(read_text("answer.conf").rstrip(), inner)
    parts = {name: fill(read_text(f"{name}.conf").rstrip(), inner) for name in ("general", "files")}
    return fill(template, {**inner, **parts})


def plain_server(options: FrontOptions) -> dict[str, str]:
    """What the templates have in the server for HTTP alone."""
    return {
        "listen": indent([*plain_listen_lines(options.listen), "root $hostel_at;"], 8),
        "misdirection": "",
        "hsts": "",
        "challenges": read_text("challenges.conf"),
    }


def tls_server(options: FrontOptions, misdirected: str, log: str) -> dict[str, str]:
    """What the templates have in the server for HTTPS alone: a name that no site has is one of another connection."""
    return {
        "listen": indent(tls_lines(options.listen_tls, options.version, log, has_http3=options.has_http3), 8),
        "misdirection": indent(["if ($hostel_is_misdirected) { return 472; }"]),
        "hsts": indent(["if (-d $hostel_at/hsts) { root $hostel_at/hsts; set $hostel_hsts $hostel_hsts_told; }"]),
        "challenges": "",
        "unknown": misdirected,
    }


def tls_port(addresses: Sequence[str]) -> str:
    """The port as it stands in URLs of HTTPS, where a redirect leads: empty for the usual one."""
    ports = [address.rpartition(":")[2] for address in addresses]
    return "" if not ports or "443" in ports else f":{ports[0]}"


def limit_links(place: str, options: FrontOptions) -> str:
    """Below ``place`` a link may lead where its owner could have put the file as well.

    Whose a link of the run tree is, the tree decides. Unprivileged, everything belongs to the one user there is. The paths
    begin with "./", nginx's prefix (-p).
    """
    return f"disable_symlinks if_not_owner from={place};" if options.user else ""


def look_for_files(layers: Sequence[str], file: str) -> Iterator[str]:
    """A look for a file in each of the layers, and the way there from the first that has it."""
    for layer in layers:
        yield f"set $hostel_layer {layer};"
        yield f"if (-f $hostel_at/www/{layer}{file}) {{ rewrite ^ /.hostel/file{file} last; }}"


def look_for_private_files(depths: Sequence[str]) -> Iterator[str]:
    """The same for private files, straight there: nginx goes ten steps for a request, and an application is far from its start.

    Behind the question mark the mapping is looked at while its place is known.
    """
    for depth in depths:
        yield f"set $hostel_layer private/{depth};"
        yield (
            f"if (-f $hostel_at/www/private/{depth}$hostel_sent) "
            "{ rewrite ^ /.hostel/private$hostel_sent?$hostel_top last; }"
        )


def first_parts_of_file(n: int) -> str:
    """The line of a map that has the first ``n`` parts of a file's path, for the layers of such mappings."""
    layer, name = f"(?:private/)?{n}", f"hostel_its_prefix{n}"
    return f'        "~^(?:{"usual|" if n == 1 else ""}{layer})(?<{name}>(?:/[^/]+){{{n}}})" ${name};'


def variable_of(header: str) -> str:
    """A header as it is part of a variable's name."""
    return header.lower().replace("-", "_")


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with what belongs in the place of each ``[name]``."""
    return re.sub(r"\[([a-z_]+)\]", lambda match: values[match[1]], template)


def first_parts(n: int) -> str:
    """The map that has the first ``n`` parts of a path."""
    name = f"hostel_its_part{n}"
    return f'    map $uri $hostel_part{n} {{ default "/+"; "~^(?<{name}>(/(?!\\+(/|$))[^/]+){{{n}}})(/|$)" ${name}; }}'


def indent(lines: Iterable[str], spaces: int = 12) -> str:
    return "\n".join(f"{' ' * spaces}{line}" for line in lines)


def pass_to(module: str, request: float) -> list[str]:
    """What nginx's ``uwsgi`` and ``proxy`` modules have in common: where to, how long, what is buffered."""
    target = "unix:$hostel_at/app.sock" if module == "uwsgi" else "http://unix:$hostel_at/http.sock"
    settings = {
        "pass": target,
        "connect_timeout": "5s",
        "send_timeout": f"{round(request * 1000)}ms",
        "read_timeout": f"{round(request * 1000)}ms",
        "next_upstream": "off",
        "buffer_size": "16k",
        "buffers": "16 16k",
        "busy_buffers_size": "32k",
        "hide_header": "X-Hostel",
    }
    return [f"{module}_{name} {value};" for name, value in settings.items()]


def uwsgi_parameters(https: str, *, has_body: bool = True) -> list[str]:
    """Our own parameter file for uwsgi. What comes first is what a worker's scoreboard tells of its request, so that is short.

    ``HTTP_HOST`` is a name that has been found in the run tree, or of the right form."""
    parameters = {
        "HTTP_X_REQUEST_ID": "$request_id",
        "REQUEST_METHOD": "$request_method",
        "REQUEST_URI": "$request_uri",
        "PATH_INFO": "$hostel_path_info",
        "SERVER_PROTOCOL": "$server_protocol",
        "SERVER_PORT": "$server_port",
        "REMOTE_ADDR": "$remote_addr",
        "REMOTE_PORT": "$remote_port",
        "HTTP_HOST": "$hostel_host$hostel_port",
        "HTTP_X_REQUEST_START": "t=$msec",
    }
    lines = [f"uwsgi_param {name} {value};" for name, value in parameters.items()]
    lines += [
        f"uwsgi_param {name} {value} if_not_empty;"
        for name, value in {
            "QUERY_STRING": "$query_string",
            "CONTENT_TYPE": "$content_type",
            **({"CONTENT_LENGTH": "$content_length"} if has_body else {}),
            "HTTPS": https,
            "SCRIPT_NAME": "$hostel_mount",
        }.items()
    ]
    # The worker sets these from the variables above: what is said once is parsed once.
    forwarded = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
    for header in (*forwarded, *REMOVED_HEADERS, *HOP_BY_HOP_HEADERS, *CARRIED_HEADERS):
        lines.append(f'uwsgi_param HTTP_{header.upper().replace("-", "_")} "" if_not_empty;')
    return lines


def proxy_parameters() -> list[str]:
    """The same for ASGI sites, which take HTTP."""
    lines = [
        "proxy_http_version 1.1;",
        "proxy_set_header Host $hostel_host$hostel_port;",
        "proxy_set_header Upgrade $hostel_upgrade;",
        "proxy_set_header Connection $hostel_connection;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Host $hostel_host$hostel_port;",
        "proxy_set_header X-Forwarded-Proto $hostel_scheme;",
        "proxy_set_header X-Request-Id $request_id;",
        "proxy_set_header X-Request-Start t=$msec;",
        "proxy_set_header X-Hostel-Mount $hostel_mount;",
    ]
    removed = {*REMOVED_HEADERS, *HOP_BY_HOP_HEADERS} - {"Connection", "Upgrade", "Transfer-Encoding", "X-Hostel-Mount"}
    lines += [f'proxy_set_header {header} "";' for header in sorted(removed)]
    return lines
