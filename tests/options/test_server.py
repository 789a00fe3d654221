"""The options of the server: defaults, validation, all problems at once, and their way to the manager."""

from __future__ import annotations

import os
from typing import Any

import pytest
from pydantic import TypeAdapter

from hostel.errors import UsageError
from hostel.options.server import ServerOptions, default_folder, from_json, make_server_options, to_json
from hostel.options.site import descriptions


def refusal(**table: Any) -> str:
    with pytest.raises(UsageError) as caught:
        make_server_options(table)
    return str(caught.value)


def test_nothing_given_is_a_server_with_defaults() -> None:
    options = make_server_options({"listen": None, "body": None, "run_dir": None})
    assert options == make_server_options({})
    assert options.listen == ("127.0.0.1:8000",)
    assert (options.run_dir, options.log_dir) == (default_folder("run"), default_folder("log"))
    assert options.cache_dir == os.path.join(options.state_dir, "cache")
    assert make_server_options({"state_dir": "/a", "cache_dir": "/b"}).cache_dir == "/b"
    assert options.starts == 2 * (os.cpu_count() or 1)


def test_values_are_parsed() -> None:
    options = make_server_options(
        {"listen": ("80", ":80", "[::]:80"), "body": "1M", "request": "5m", "log_size": "2K", "run_dir": "here"}
    )
    assert options.listen == ("127.0.0.1:80", "[::]:80")  # the same address once
    assert (options.body, options.request, options.log_size) == (2**20, 300.0, 2048)
    assert options.run_dir == os.path.abspath("here")
    assert make_server_options({"parallel_starts": 3}).starts == 3


def test_all_problems_are_reported_at_once() -> None:
    said = refusal(
        listen=("99999", "example:80", "80"), parallel_starts=-1, body="much", request=0, log_size="0", default_user="a b",
        front_user="x;y", log_dir="/var/$log", nothing=1,
    )  # fmt: skip
    assert said.startswith("cannot start: ")
    assert said.removeprefix("cannot start: ").split("; --") == [
        "--listen: '99999' is not an address: write PORT, IPV4:PORT, [IPV6]:PORT or *:PORT",
        "listen: 'example:80' is not an address: write PORT, IPV4:PORT, [IPV6]:PORT or *:PORT",
        "log-dir: '/var/$log' has a dollar sign, which the front's configuration cannot hold",
        "default-user: 'a b' is not the name of a system user",
        "front-user: 'x;y' is not the name of a system user",
        "parallel-starts: has to be at least 0, not -1",
        'body: give a number of bytes, or text such as "64K", "256M" or "2G", not \'much\'',
        "request: has to be more than 0, not 0",
        "log-size: has to be more than 0, not '0'",
        "nothing: unknown option",
    ]


@pytest.mark.parametrize("folder", ["run_dir", "state_dir", "log_dir"])
def test_a_folder_with_control_characters_is_refused(folder: str) -> None:
    assert "control characters" in refusal(**{folder: "/a\nb"})


def test_no_address_at_all() -> None:
    assert "--listen: " in refusal(listen=())


def test_options_survive_their_way_to_the_manager() -> None:
    options = make_server_options({"listen": ("*:80", "[::1]:8080"), "request": "250ms", "body": "3G", "reload": True})
    assert from_json(to_json(options)) == options


def test_every_option_has_a_sentence() -> None:
    properties = TypeAdapter(ServerOptions).json_schema()["properties"]
    assert {name: value["description"] for name, value in properties.items()} == descriptions(ServerOptions)
    for name, sentence in descriptions(ServerOptions).items():
        assert sentence.endswith("."), name
        assert sentence[0].isupper()


def test_default_folders_are_the_system_s_for_root_and_private_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert [default_folder(kind) for kind in ("run", "state", "log")] == [
        "/run/hostel",
        "/var/lib/hostel",
        "/var/log/hostel",
    ]
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    assert [default_folder(kind) for kind in ("run", "state", "log")] == [
        "/tmp/hostel-1234", "/home/me/state/hostel", "/home/me/state/hostel/log",
    ]  # fmt: skip
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    assert default_folder("run") == "/tmp/hostel"


def test_https_and_proxies() -> None:
    options = make_server_options(
        {"listen_tls": ("8443",), "certificates": "here", "trusted_proxy": ("10.0.0.0/8", "::1/128")}
    )
    assert (options.listen_tls, options.certificates) == (("127.0.0.1:8443",), os.path.abspath("here"))
    assert options.trusted_proxy == ("10.0.0.0/8", "::1")
    assert options.takes_https
    assert make_server_options({"trusted_proxy": ("::1",)}).takes_https
    assert not make_server_options({}).takes_https
    assert from_json(to_json(options)) == options
    assert "both name 127.0.0.1:8000" in refusal(listen_tls=("8000",))
    assert "without --listen-tls" in refusal(certificates="here")
    for wrong in ("10.0.0.1/8", "example.com", "10.0.0.0/33", ""):
        assert "no IP address and no network" in refusal(trusted_proxy=(wrong,))
