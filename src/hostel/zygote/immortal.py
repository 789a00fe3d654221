"""Objects that are never counted again, so that the pages they lie on stay shared between a zygote and its workers.

The hard part is that Python writes to an object whenever it only looks at it: it counts the reference, and the kernel copies
the page for whoever has written. Since Python 3.12 there are objects that are not counted, the immortal ones of PEP 683: its
own, such as ``None``; how one is marked is a number in the place of its count. What a zygote has imported lives as long as it
does anyway, so all of it is marked as well, which nothing but the interpreter's header offers: hence the versions whose
layout is known, and a look at an object whose count is known before any is changed.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import types
from typing import Any, List, Set

IMMORTAL = 0xFFFFFFFF  # _Py_IMMORTAL_REFCNT of Include/object.h in 3.12 and 3.13, where a word has 64 bits
KNOWN = ((3, 12), (3, 13))
# What ends when nobody refers to it any more, and is meant to.
MORTAL = (types.FrameType, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.TracebackType)


def make_immortal() -> int:
    """Mark everything that the imported modules are made of; how many objects that were. 0 where it cannot be done."""
    if not is_possible():
        return 0
    seen: Set[int] = set()
    # Not their namespace alone: a module has a name and a specification, too.
    rest: List[Any] = [module for module in list(sys.modules.values()) if module is not None]
    count = 0
    while rest:
        one = rest.pop()
        if id(one) in seen or type(one) in MORTAL:
            continue  # not isinstance: a proxy would ask what it stands for
        seen.add(id(one))
        ctypes.c_ssize_t.from_address(id(one)).value = IMMORTAL
        count += 1
        rest += gc.get_referents(one)
        if type(one) is types.CodeType:  # which the garbage collector knows nothing of
            rest += (one.co_consts, one.co_names, one.co_name, one.co_filename, one.co_linetable, one.co_varnames)
    return count


def is_possible() -> bool:
    """Whether this interpreter is one whose objects are known to be laid out as we believe."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in KNOWN or sys.maxsize < 2**32:
        return False
    if "t" in sys.abiflags or hasattr(
        sys, "gettotalrefcount"
    ):  # without a GIL, and for debugging, it is another layout
        return False
    probe = object()
    references = [probe] * 7
    count = ctypes.c_ssize_t.from_address(id(probe)).value
    return count == len(references) + 1 and ctypes.c_ssize_t.from_address(id(None)).value == IMMORTAL
