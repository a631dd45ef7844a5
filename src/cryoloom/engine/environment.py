"""Environment of a run: versions, machine, devices; recorded with every run."""

from __future__ import annotations

import functools
import os
import platform
import socket
import sys
from importlib import metadata
from typing import Any

import psutil
import torch

from cryoloom.version import __version__

__all__ = ["describe_environment"]

_NUMERICS = ("numpy", "scipy", "torch", "numba", "mrcfile", "tifffile", "imagecodecs", "zarr")


@functools.cache
def describe_environment() -> dict[str, Any]:
    """Program, library versions, machine and devices, as plain data."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cryoloom": __version__,
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _NUMERICS},
        "system": platform.platform(),
        "host": socket.gethostname(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
        "executable": sys.executable,
    }
