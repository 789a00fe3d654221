"""Run by any Python as a process of its own: becomes a worker just as the child of a zygote does.

Arguments: the folder of the package, the order's fields as JSON, the numbers of the descriptors for the worker as JSON.
Python 3.9.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys


def main() -> int:
    folder, fields, descriptors = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    spec = importlib.util.spec_from_file_location("entry", os.path.join(folder, "zygote", "__main__.py"))
    assert spec is not None
    assert spec.loader is not None
    entry = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(entry)
    entry.adopt_package()
    from hostel.wire import StartWorker
    from hostel.worker.main import Worker
    from hostel.zygote.descriptors import arrange_descriptors

    has_http = len(descriptors) == 5
    arrange_descriptors(descriptors, has_http=has_http)
    return Worker(StartWorker(**fields, has_http=has_http)).run()


if __name__ == "__main__":
    sys.exit(main())
