"""Coroutines run to their end, wherever a test runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["in_a_loop_of_its_own"]


def in_a_loop_of_its_own(work: Coroutine[Any, Any, Any]) -> Any:
    """Result of a coroutine, run in another thread: the browser of other tests keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
