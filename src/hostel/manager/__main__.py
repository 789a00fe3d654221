"""The manager's entry point: ``python -m hostel.manager CHANNEL OPTIONS-JSON SOURCES-JSON``, started by the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import grp
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import hostel
from hostel.errors import HostelError, HostError
from hostel.front.binary import Binary, find_binary
from hostel.front.nginx import FrontOptions
from hostel.manager.adoption import adopt
from hostel.manager.caretaker import Caretaker
from hostel.manager.certificates import Certificates
from hostel.manager.control import Control
from hostel.manager.front import NAME as FRONT
from hostel.manager.front import Front, test_configuration
from hostel.manager.janitor import NAME as JANITOR
from hostel.manager.link import Inheritance, SupervisorLink
from hostel.manager.logs import prepare_folder
from hostel.manager.server import Server
from hostel.manager.sockets import bind_front_socket
from hostel.manager.tlstree import TlsTree
from hostel.manager.upgrade import TRIAL
from hostel.manager.zygotes import zygote_command
from hostel.options import server as server_options
from hostel.options.server import ServerOptions
from hostel.plan import Plan
from hostel.sandbox.identity import group_of
from hostel.source.base import Source
from hostel.source.folder import FolderSource
from hostel.source.project import ProjectSource
from hostel.source.tenants import TenantSource
from hostel.wire import PROTOCOL_VARIABLE, Channel, Replace, Serving, protocol

CERTIFICATE_SECONDS = 3.0  # at most, for the first look at certificates before the front starts
MOST_CONNECTIONS = 32768  # of one of the front's processes, with clients and with workers together
MOST_LOGS = 16384  # that it keeps open


def make_sources(text: str, options: ServerOptions) -> list[Source]:
    """The sources from their JSON: ``[{"folder": path} | {"project": path, "name": ..., "options": ..., "domains": ...}]``."""
    sources: list[Source] = []
    has_own_users = options.users == "auto"
    for table in json.loads(text):
        if "folder" in table:
            sources.append(FolderSource(table["folder"], has_own_users=has_own_users))
        else:
            what = table["project"], table["options"], table["domains"], table["name"]
            sources.append(ProjectSource(*what, has_own_users=has_own_users))
    if options.tenants:
        sources.append(TenantSource(options.tenants, least=options.least_uid))
    return sources


def front_sockets(link: SupervisorLink, options: ServerOptions, inheritance: Inheritance) -> list[int]:
    """The sockets that the front listens on. Raises ``HostError``."""
    sockets = []
    for address in (*options.listen, *options.listen_tls):
        name = f"listen/{address}"
        if name in inheritance.kept:
            sockets.append(inheritance.kept[name][0])
        else:
            sockets.append(bind_front_socket(address))
            link.keep(name, sockets[-1])
    return sockets


def front_options(options: ServerOptions, front_ids: tuple[int, int] | None, binary: Binary) -> FrontOptions:
    """What the front's configuration is made from. ``front_ids``: its uid and gid, None unprivileged."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return FrontOptions(
        listen=options.listen,
        listen_tls=options.listen_tls,
        trusted_proxy=options.trusted_proxy,
        version=binary.version,
        has_http3=binary.has_http3,
        log_dir=options.log_dir,
        user=options.front_user if front_ids else "",
        group=grp.getgrgid(front_ids[1]).gr_name if front_ids else "",
        processes=os.cpu_count() or 1,
        connections=min(MOST_CONNECTIONS, descriptors // 2),
        logs=min(MOST_LOGS, descriptors * 3 // 8),
        body=options.body,
        request=options.request,
        cache_dir=options.cache_dir,
        cache_size=options.cache_size,
        caches_files=not options.reload,
    )


async def configure(front: Front, *, is_running: bool) -> None:
    """Have the front configured, and reloaded when it runs with another configuration. Raises ``HostError``."""
    try:
        is_other = await front.configure()
    except (HostError, OSError) as error:
        if not is_running:
            raise
        print(f"hostel: {error}; the front goes on with its old configuration", file=sys.stderr, flush=True)
        return
    if is_running and is_other:
        front.reload()


async def try_to_serve(options: ServerOptions, sources: list[Source]) -> None:
    """What a manager needs to start, without touching anything that runs; see ``hostel.manager.upgrade``.

    Raises ``HostelError``.
    """
    front_ids = group_of(options.front_user) if os.geteuid() == 0 else None
    for source in sources:
        source.read()
    binary = find_binary(options.nginx)
    await test_configuration(binary, front_options(options, front_ids, binary))
    ours, theirs = Channel.pair()
    with subprocess.Popen(zygote_command(sys.executable, str(theirs.fileno())), pass_fds=[theirs.fileno()]) as zygote:
        theirs.close()
        ours.close()  # it ends when it has come so far as to look
    if zygote.returncode:
        raise HostError("a zygote of the new version does not start")


async def serve(link: SupervisorLink, options: ServerOptions, sources: list[Source]) -> None:
    """Run the server until it is told to stop. Raises ``HostelError`` when it cannot start."""
    inheritance = link.inherit()
    is_root = os.geteuid() == 0
    front_ids = group_of(options.front_user) if is_root else None
    prepare_folder(options.state_dir, 0o711 if is_root else 0o700)
    prepare_folder(os.path.join(options.state_dir, "sites"), 0o711 if is_root else 0o700)
    prepare_folder(options.cache_dir, 0o711 if is_root else 0o700)
    prepare_folder(options.log_dir, 0o711 if is_root else 0o700)
    server = Server(options, sources, link, front_ids)
    tree = server.runner.surroundings.tree
    tree.prepare()
    sockets = front_sockets(link, options, inheritance)
    binary = find_binary(options.nginx)
    server.front = Front(binary, front_options(options, front_ids, binary), sockets, link)
    await configure(server.front, is_running=FRONT in inheritance.running)
    link.flush()

    looking: asyncio.Task[None] | None = None
    gc.disable()  # ten thousand sites are made of things that stay
    server.runner.plan = Plan(owners=tree.routes())  # who has a domain keeps it
    plan = server.read_plan()
    adopt(server.runner, inheritance, plan)
    server.runner.apply(plan)
    server.reload_missed()
    server.reload_outdated()
    server.report(plan, {})
    if options.listen_tls:
        server.certificates = Certificates(options, TlsTree(front_ids[1] if front_ids else None))
        server.certificates.apply(plan)
        looking = asyncio.create_task(server.certificates.run())
        with contextlib.suppress(TimeoutError):  # who names one may not hold up the others
            await asyncio.wait_for(server.certificates.settled.wait(), CERTIFICATE_SECONDS)
    gc.freeze()
    gc.enable()
    server.clean_cache(plan, is_running=JANITOR in inheritance.running)
    if FRONT in inheritance.running:
        server.front.spawned(inheritance.running[FRONT])
    else:
        server.front.start()
    server.runner.workers.warm()
    server.runner.turn_logs()
    link.listen(server.supervisor_said)
    control = Control(server)
    await control.listen()
    link.send(Serving())
    caring = asyncio.create_task(Caretaker(server.runner, furnishing(server, control)).run())
    await server.ended.wait()
    caring.cancel()
    if looking is not None:
        looking.cancel()
    if server.is_replaced:
        link.flush()
        link.send(Replace())
        return
    await server.end()
    control.close()


def furnishing(server: Server, control: Control) -> Callable[[bool], Awaitable[None]]:
    """What makes anew the parts of the run directory that are no site's."""

    async def furnish(has_moved: bool) -> None:
        assert server.front is not None
        await server.front.configure()
        if has_moved:
            server.front.restart()
        else:
            server.front.reload()
        if server.certificates is not None:
            server.certificates.refresh()
        await control.listen()

    return furnish


def main() -> int:
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor tells
    channel, options_text, sources_text = sys.argv[1:]
    try:
        if os.environ.get(PROTOCOL_VARIABLE) != protocol():
            raise HostError(
                f"Hostel {hostel.__version__} cannot go on with the supervisor that runs",
                "restart the server, or install the old version again",
            )
        options = server_options.from_json(options_text)
        os.chdir(options.run_dir)
        sources = make_sources(sources_text, options)
        with contextlib.suppress(asyncio.CancelledError):
            if channel == TRIAL:
                asyncio.run(try_to_serve(options, sources))
                print(hostel.__version__)
            else:
                asyncio.run(serve(SupervisorLink(int(channel)), options, sources))
    except HostelError as error:
        print(
            f"hostel: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr, flush=True
        )
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
