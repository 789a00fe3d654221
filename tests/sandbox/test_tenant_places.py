"""What a tenant's site sees of the files: nothing that a link leads to outside of what its tenant may name."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from hostel.errors import SiteError
from hostel.options.server import ServerOptions, make_server_options
from hostel.options.site import Site
from hostel.options.tenant import is_inside, read_tenant, read_tenant_site
from hostel.sandbox.identity import Identity
from hostel.sandbox.site import places_of


def make(folder: Path, text: str) -> tuple[Site, Identity, ServerOptions]:
    home = folder / "alice"
    tenant, _ = read_tenant("alice", "/t/alice.toml", f"folder = '{home}'\npaths = ['{home}']\n".encode())
    assert tenant is not None
    site, problems = read_tenant_site(tenant, "alice+blog", f"{home}/blog.toml", f"app = 'a:b'\n{text}".encode())
    assert site is not None, problems
    options = make_server_options(
        {"hide": (str(folder),), "state_dir": str(folder / "state"), "log_dir": str(folder / "log")}
    )
    return site, Identity(12345, 12345, (12345,), "alice", str(home)), options


def test_what_it_names_and_what_a_link_of_its_own_leads_to(tmp_path: Path) -> None:
    (tmp_path / "alice" / "code").mkdir(parents=True)
    (tmp_path / "alice" / "link").symlink_to("code")
    places = places_of(*make(tmp_path, "directory = 'link'\n"))
    assert str(tmp_path / "alice" / "code") in places.own
    assert str(tmp_path) in places.covered


def test_python_s_paths_and_environments_of_others_stay_hidden(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "bob" / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "alice" / "lib").symlink_to(tmp_path / "bob")
    (tmp_path / "alice" / "env" / "bin").mkdir(parents=True)
    (tmp_path / "alice" / "env" / "bin" / "python").symlink_to(tmp_path / "bob" / "venv" / "bin" / "python")
    text = f"environment = 'env'\n[env]\nPYTHONPATH = '{tmp_path}/alice/lib'\n"
    places = places_of(*make(tmp_path, text))
    assert not [path for path in (*places.own, *places.shared) if is_inside(path, [str(tmp_path / "bob")])]
    assert str(tmp_path / "alice" / "env") in places.shared


def test_links_that_are_swapped_meanwhile(tmp_path: Path) -> None:
    """Whatever the moment, it is either the tenant's own folder or a refusal."""
    home, bob = tmp_path / "alice", tmp_path / "bob"
    for path in (home / "code", bob):
        path.mkdir(parents=True)
    site, identity, options = make(tmp_path, "directory = 'here'\n[env]\nPYTHONPATH = 'here'\n")
    end, swaps = threading.Event(), 0

    def swap() -> None:
        nonlocal swaps
        while not end.is_set():
            for target in (home / "code", bob):
                (home / "new").symlink_to(target)
                os.rename(home / "new", home / "here")
                swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    refused = 0
    try:
        for _ in range(1500):
            try:
                places = places_of(site, identity, options)
            except SiteError:
                refused += 1
            else:
                assert not [path for path in (*places.own, *places.shared) if is_inside(path, [str(bob)])]
    finally:
        end.set()
        thread.join()
    assert 0 < refused < 1500 and swaps > 100
