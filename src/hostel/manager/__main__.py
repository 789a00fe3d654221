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
import sys

from hostel.errors import HostelError
from hostel.front.binary import find_binary
from hostel.front.nginx import FrontOptions
from hostel.manager.adoption import adopt
from hostel.manager.control import Control
from hostel.manager.front import NAME as FRONT
from hostel.manager.front import Front
from hostel.manager.link import Inheritance, SupervisorLink
from hostel.manager.logs import prepare_folder
from hostel.manager.server import Server
from hostel.manager.sockets import bind_front_socket
from hostel.options import server as server_options
from hostel.options.server import ServerOptions
from hostel.plan import Plan
from hostel.sandbox.identity import group_of
from hostel.source.base import Source
from hostel.source.folder import FolderSource
from hostel.source.project import ProjectSource
from hostel.wire import Serving

MOST_CONNECTIONS = 32768  # of one of the front's processes; each takes up to two descriptors


def make_sources(text: str) -> list[Source]:
    """The sources from their JSON: ``[{"folder": path} | {"project": path, "name": ..., "options": ..., "domains": ...}]``."""
    sources: list[Source] = []
    for table in json.loads(text):
        if "folder" in table:
            sources.append(FolderSource(table["folder"]))
        else:
            sources.append(ProjectSource(table["project"], table["options"], table["domains"], table["name"]))
    return sources


async def make_front(
    link: SupervisorLink, options: ServerOptions, inheritance: Inheritance, front_ids: tuple[int, int] | None
) -> Front:
    """The front, configured but not started, with the sockets it listens on. Raises ``HostError``."""
    sockets = []
    for address in options.listen:
        name = f"listen/{address}"
        if name in inheritance.kept:
            sockets.append(inheritance.kept[name][0])
        else:
            sockets.append(bind_front_socket(address))
            link.keep(name, sockets[-1])
    front_options = FrontOptions(
        listen=options.listen,
        log_dir=options.log_dir,
        user=options.front_user if front_ids else "",
        group=grp.getgrgid(front_ids[1]).gr_name if front_ids else "",
        processes=os.cpu_count() or 1,
        connections=min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2),
        body=options.body,
        request=options.request,
    )
    front = Front(find_binary(options.nginx), front_options, sockets, link)
    await front.configure()
    return front


async def serve(link: SupervisorLink, options: ServerOptions, sources: list[Source]) -> None:
    """Run the server until it is told to stop. Raises ``HostelError`` when it cannot start."""
    inheritance = link.inherit()
    is_root = os.geteuid() == 0
    front_ids = group_of(options.front_user) if is_root else None
    prepare_folder(options.state_dir, 0o711 if is_root else 0o700)
    prepare_folder(os.path.join(options.state_dir, "sites"), 0o711 if is_root else 0o700)
    prepare_folder(options.log_dir, 0o711 if is_root else 0o700)
    server = Server(options, sources, link, front_ids)
    tree = server.runner.surroundings.tree
    tree.prepare()
    server.front = await make_front(link, options, inheritance, front_ids)
    link.flush()

    gc.disable()  # ten thousand sites are made of things that stay
    server.runner.plan = Plan(owners=tree.routes())  # who has a domain keeps it
    plan = server.read_plan()
    adopt(server.runner, inheritance, plan)
    server.runner.apply(plan)
    server.reload_missed()
    server.report(plan, {})
    gc.freeze()
    gc.enable()
    if FRONT in inheritance.running:
        server.front.spawned(inheritance.running[FRONT])
    else:
        server.front.start()
    server.runner.workers.warm()
    link.listen(server.supervisor_said)
    control = await Control(server).listen()
    link.send(Serving())
    await server.ended.wait()
    await server.end()
    control.close()


def main() -> int:
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor tells
    channel, options_text, sources_text = sys.argv[1:]
    options = server_options.from_json(options_text)
    os.chdir(options.run_dir)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(serve(SupervisorLink(int(channel)), options, make_sources(sources_text)))
    except HostelError as error:
        print(
            f"hostel: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr, flush=True
        )
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
