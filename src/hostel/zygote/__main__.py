"""Entry point of a zygote, run as a file by the interpreter of an environment that need not know Hostel.

So the package is put in place by hand, without a change of ``sys.path``: a site sees its environment and no more.
"""

from __future__ import annotations

import importlib.util
import os
import sys

FRESH = "fresh"  # instead of a descriptor: this is a worker's new interpreter


def adopt_package() -> None:
    """Make ``hostel`` importable from the folder that holds this file."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(
        "hostel", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["hostel"] = package
    spec.loader.exec_module(package)


def main() -> int:
    """Serve as a zygote over the channel whose descriptor is the first argument; in a worker, live its life.

    With a second argument it is a bare one, whose workers become other virtualenvs.
    """
    adopt_package()
    if sys.argv[1] == FRESH:
        from hostel.worker.main import Worker
        from hostel.zygote.fresh import take_order

        return Worker(take_order(int(sys.argv[2]))).run()
    from hostel.zygote.loop import BecomeWorker, Zygote

    worker = None
    try:
        Zygote(int(sys.argv[1]), is_bare=len(sys.argv) > 2).run()
    except BecomeWorker as order:
        worker = order.worker
    # The zygote's frames are gone now, and so is the exception, which would be the context of all that the site raises.
    # From here this process is the worker, and it ends like any interpreter, with the site's own atexit functions.
    if worker is not None and worker.order.is_fresh:
        from hostel.zygote.fresh import execute

        execute(worker, os.path.abspath(__file__), FRESH)
    return worker.run() if worker is not None else 0


if __name__ == "__main__":
    sys.exit(main())
