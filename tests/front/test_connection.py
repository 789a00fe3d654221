"""The rendered configuration for what differs between nginx binaries; neither of those that the tests run has HTTP/3."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from hostel.front.nginx import FrontOptions, render, tls_port

OPTIONS = FrontOptions(
    listen=("0.0.0.0:80",), listen_tls=("0.0.0.0:443", "[::]:443"), trusted_proxy=(), version=(1, 31, 0), has_http3=False,
    log_dir="/var/log/hostel", user="front", group="front", processes=2, connections=1000, logs=64, body=2**20, request=60.0,
    cache_dir="/cache", cache_size=2**30,
)  # fmt: skip


def servers(options: FrontOptions) -> list[str]:
    return re.findall(r"(?ms)^    server \{\n.*?^    \}\n", render(options))


def test_http_2_as_each_version_wants_it() -> None:
    _, new = servers(OPTIONS)
    assert "http2 on;" in new
    assert "listen 0.0.0.0:443 ssl default_server" in new
    _, old = servers(replace(OPTIONS, version=(1, 22, 1)))
    assert "listen 0.0.0.0:443 ssl http2 default_server" in old
    assert "http2 on;" not in old
    assert "ssl_session_tickets off;" in old


def test_http_3_where_the_binary_has_it() -> None:
    assert " quic " not in render(OPTIONS)
    _, server = servers(replace(OPTIONS, has_http3=True))
    assert "listen 0.0.0.0:443 quic default_server reuseport;" in server
    assert "listen [::]:443 quic default_server reuseport;" in server
    assert r"""add_header Alt-Svc "h3=\":443\"; ma=86400" always;""" in server


def test_without_tls_there_is_one_server_and_no_trace_of_certificates() -> None:
    (server,) = servers(replace(OPTIONS, listen_tls=()))
    assert not re.search("ssl|hsts", server)


def test_every_location_for_https_has_the_root_and_the_log_that_it_has_for_http() -> None:
    plain, safe = servers(OPTIONS)
    blocks = dict(re.findall(r"(?ms)^        location ([^\n{]+) (\{[^\n]* \}$|\{.*?^        \}$)", safe))
    names = re.findall(r"(?m)^        location ([^\n{]+) \{", plain)
    assert [name for name in names if "acme" not in name] == list(blocks)
    for name, block in blocks.items():
        opening, _, rest = block.partition("\n")
        own = "\n".join(line for line in rest.splitlines() if re.match(" {12}[a-z]", line) and " if (" not in line)
        for directive in ("root", "error_log"):
            assert len(re.findall(rf"(?m)(?:^ *|[;{{] ){directive} ", f"{opening}\n{own}")) == 1, (name, directive)


def test_a_usual_request_costs_two_looks_and_by_https_three() -> None:
    looks = [
        re.findall(r"-[a-z] \$hostel_at\S*", re.findall(r"(?ms)^        location / \{.*?^        \}", one)[0])
        for one in servers(OPTIONS)
    ]
    usual = ["-f $hostel_at/www/usual$hostel_wanted)", "-d $hostel_at/plain)"]
    assert looks == [usual, ["-d $hostel_at/hsts)", *usual]]


def test_nobody_is_trusted_unless_named() -> None:
    assert "real_ip" not in render(OPTIONS)
    text = render(replace(OPTIONS, trusted_proxy=("10.0.0.0/8",)))
    assert "set_real_ip_from 10.0.0.0/8;" in text
    assert "uwsgi_param HTTPS $hostel_https if_not_empty;" in text


@pytest.mark.parametrize(
    ("addresses", "port"),
    [((), ""), (("0.0.0.0:443",), ""), (("127.0.0.1:8443", "[::]:443"), ""), (("127.0.0.1:8443",), ":8443")],
)
def test_the_port_that_a_redirect_names(addresses: tuple[str, ...], port: str) -> None:
    assert tls_port(addresses) == port


def test_no_variable_is_defined_twice() -> None:
    """nginx takes the later one and says nothing."""
    names = re.findall(r"(?m)^\s*(?:map|geo|split_clients) .*?(\$hostel_\w+) \{", render(OPTIONS))
    assert len(names) > 60
    assert sorted(names) == sorted(set(names))
