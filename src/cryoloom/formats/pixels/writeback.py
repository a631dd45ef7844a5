"""The disk set to work while a file is still being made, so that the flush at its end has little left to do.

Linux keeps written pages for up to half a minute. A stack of 4 GB then waits for the disk when all of it is
computed, with the processor idle.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

__all__ = ["begin_writing"]

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of sync_file_range(2): begin to write what is not written yet, and do not wait."""


def begin_writing(descriptor: int) -> bool:
    """Ask the system to begin writing a file's new pages to the disk; whether it has begun.

    Where a system or file system knows no such request nothing happens: it promises nothing, and only a flush
    does.
    """
    request = _request()
    return request is not None and request(descriptor, 0, 0, _WRITE) == 0


@functools.cache
def _request() -> Any:
    """Function sync_file_range of the C library; None if there is none."""
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError, TypeError):  # TypeError: a system whose libraries all have names
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function
