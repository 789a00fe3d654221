"""The produced configuration as gixy sees it: nothing of medium or high severity, but for what is looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hostel.front.nginx import FrontOptions, render

# What gixy takes amiss, and why it is right here all the same: by its check, and a text in its reason.
KNOWN = {
    ("proxy_pass_normalized", "path after the host"): "what follows unix: is the path of a socket, not of a URL",
    (
        "if_is_evil",
        '"set"',
    ): "set and if are of the same module, which runs both in their order (ngx_http_rewrite_module)",
    ("if_is_evil", '"root"'): "root is for the $realpath_root of the set beside it; every location has a test",
}


@pytest.mark.parametrize("user", ["hostel-front", ""])
@pytest.mark.parametrize("listen_tls", [(), ("0.0.0.0:443",)])
def test_gixy_finds_nothing(tmp_path: Path, user: str, listen_tls: tuple[str, ...]) -> None:
    options = FrontOptions(
        listen=("0.0.0.0:80",), listen_tls=listen_tls, trusted_proxy=(), version=(1, 31, 3), has_http3=False,
        log_dir="/var/log/hostel", user=user, group=user, processes=2, connections=4096, logs=4096, body=2**27,
        request=300.0, cache_dir="/var/cache/hostel", cache_size=2**30,
    )  # fmt: skip
    path = tmp_path / "nginx.conf"
    path.write_text(render(options))
    command = [str(Path(sys.executable).with_name("gixy")), "-ll", "-f", "json", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(result.stdout)
    found = {(issue["plugin"], issue["reason"]) for issue in issues}
    unknown = [
        (check, reason) for check, reason in found if not any(check == k and text in reason for k, text in KNOWN)
    ]
    assert unknown == []
    assert all(any(check == k and text in reason for check, reason in found) for k, text in KNOWN if listen_tls)


def test_gixy_would_find_something(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text("http { server { location / { proxy_pass http://$arg_host; } } }")
    command = [str(Path(sys.executable).with_name("gixy")), "-ll", "-f", "json", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ssrf" in {issue["plugin"] for issue in json.loads(result.stdout)}
