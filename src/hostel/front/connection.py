"""What nginx is told of connections: where to listen, TLS, and whose word counts about the client. Pure lines of text.

The hard part is the certificate. It has to be chosen in the handshake, where nginx reads files whose names may have
variables, but has no way to ask whether a file is there. One variable looks at the file system by itself: the server's
``$realpath_root`` is where ``root`` leads, or empty when it leads nowhere. So the TLS server's ``root`` is the place of a
certificate for this very name; if there is none, the wildcard's for its parent is tried. Names that have neither get no
handshake. nginx complains of a root that leads nowhere; so the server itself logs nothing but alarms, and each of its
locations has the log and the root that the plain server has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# For TLS 1.2; those of 1.3 are all good. From Mozilla's "intermediate" recommendation, without finite-field DHE.
CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
HTTP2_DIRECTIVE = (1, 25, 1)  # from this version on; before it is a parameter of listen
TICKET_KEYS_CHANGE = (1, 23, 2)  # from this version on
CERTIFICATE_CACHE = (1, 27, 4)
HSTS = "add_header Strict-Transport-Security $hostel_hsts always;"

# How the templates name what depends on trust.
TRUSTING = {"host": "$hostel_named", "host_and_port": "$hostel_named_and_port", "https": "$hostel_https"}
TRUSTING_NOBODY = {"host": "$host", "host_and_port": "$http_host", "https": "$https"}


def trust_lines(proxies: Sequence[str]) -> list[str]:
    """For the http block: the client and what it asked for, as a proxy that is trusted says."""
    if not proxies:
        return []
    return [
        *(f"set_real_ip_from {proxy};" for proxy in proxies),
        "real_ip_header X-Forwarded-For;",
        "real_ip_recursive on;",
        "geo $realip_remote_addr $hostel_is_trusted {",
        '    default "";',
        *(f"    {proxy} 1;" for proxy in proxies),
        "}",
        'map "$hostel_is_trusted $http_x_forwarded_proto" $hostel_https {',
        "    default $https;",
        r'    "~*^1 (?:.*,\s*)?https$" on;',
        r'    "~*^1 (?:.*,\s*)?http$" "";',
        "}",
        'map "$hostel_is_trusted $http_x_forwarded_host" $hostel_named {',
        "    default $host;",
        r'    "~^1 (?<hostel_its_name>[a-z0-9_][a-z0-9_.-]*?)\.?(?::[0-9]{1,5})?$" $hostel_its_name;',
        "}",
        'map "$hostel_is_trusted $http_x_forwarded_host" $hostel_named_and_port {',
        "    default $http_host;",
        r'    "~^1 (?<hostel_its_name_and_port>[a-z0-9_][a-z0-9_.-]*(?::[0-9]{1,5})?)$" $hostel_its_name_and_port;',
        "}",
    ]


def plain_listen_lines(addresses: Sequence[str]) -> list[str]:
    return [f"listen {address} default_server backlog=65535;" for address in addresses]


def tls_lines(addresses: Sequence[str], version: tuple[int, ...], log: str, *, has_http3: bool) -> list[str]:
    """For the TLS server: where it listens, and how hands are shaken."""
    is_parameter = version < HTTP2_DIRECTIVE
    lines = [
        f"listen {address} ssl{' http2' if is_parameter else ''} default_server backlog=65535;" for address in addresses
    ]
    if not is_parameter:
        lines.append("http2 on;")
    if has_http3:
        # nginx itself binds these: the sockets of UDP are not handed over, and a client falls back to HTTP/2 meanwhile.
        lines += [f"listen {address} quic default_server reuseport;" for address in addresses]
        ports = dict.fromkeys(address.rpartition(":")[2] for address in addresses)
        offered = ", ".join(f'h3=\\":{port}\\"; ma=86400' for port in ports)
        lines.append(f'add_header Alt-Svc "{offered}" always;')
    if version >= CERTIFICATE_CACHE:
        lines.append("ssl_certificate_cache max=1000 inactive=60s valid=2s;")  # so late a new one is noticed
    return [
        *lines,
        "root tls/exact/$hostel_sni;",
        f"error_log {log} alert;",
        "ssl_certificate $hostel_pair/certificate.pem;",
        "ssl_certificate_key $hostel_pair/key.pem;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        f"ssl_ciphers {CIPHERS};",
        "ssl_prefer_server_ciphers off;",
        "ssl_session_cache shared:hostel:20m;",
        "ssl_session_timeout 1d;",
        # Before, the key of tickets would be the same as long as nginx runs: who learns it reads all.
        f"ssl_session_tickets {'on' if version >= TICKET_KEYS_CHANGE else 'off'};",
        HSTS,
    ]


def with_own_places(server: str, log: str) -> str:
    """The server block with root and log in each of its locations, because those of the server are for handshakes.

    What lies inside of a location has them from there.
    """

    def add(match: re.Match[str]) -> str:
        own = set(re.findall(r"^ {12}(error_log|root|add_header) ", match[0], re.MULTILINE))
        lines = {"error_log": f"error_log {log};", "root": "root $hostel_at;"}
        more = [line for directive, line in lines.items() if directive not in own]
        if "add_header" in own:  # it does without those of the server then
            more.append(HSTS)
        return f"{match[1]} {' '.join(more)}{match[2]}"

    return re.sub(r"(?ms)^( {8}location [^\n{]+\{)( [^\n]* \}$|\n.*?^ {8}\}$)", add, server)
