"""One loop compiled twice: shared by all threads, and for the calling thread."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba

__all__ = ["parallel_and_serial"]


def parallel_and_serial(
    function: Callable[..., Any], **options: Any
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compile a loop over ``prange`` for all threads and, as ``range``, for the calling thread.

    Small work, of which several pieces run side by side, is faster on the calling thread; both versions give
    the same but for rounding. Choose by the size of the work alone: the number of threads changes no bit.
    options : of ``numba.njit`` besides ``parallel``, ``nogil`` and ``cache``.
    """
    # Numba's cache distinguishes functions by qualified name and does not look at `parallel`.
    serial = FunctionType(
        function.__code__, function.__globals__, function.__name__ + "_serial", None, function.__closure__
    )
    serial.__qualname__, serial.__doc__ = function.__qualname__ + "_serial", function.__doc__
    serial.__module__ = function.__module__
    return (
        numba.njit(parallel=True, nogil=True, cache=True, **options)(function),
        numba.njit(nogil=True, cache=True, **options)(serial),
    )
