"""Whether vector code can be used; where not, each kernel's door takes its portable twin.

The vector code is written in LLVM's intermediate form through numba's extension interface, which may change
with numba's version. Every kernel that uses it has a twin in torch with the same signature and test.
"""

from __future__ import annotations

import functools
import os

import numba
import torch

__all__ = ["vector_code_fits"]

_TESTED_NUMBA = ((0, 60), (0, 69))
"""First version tested, and the first not tested any more; pyproject.toml has the same bounds."""


def vector_code_fits(tensor: torch.Tensor) -> bool:
    """Whether vector code can work on this tensor: it lies in the CPU's memory and numba's version is tested.

    The environment variable ``CRYOLOOM_PORTABLE_KERNELS=1`` turns it off.
    """
    return tensor.device.type == "cpu" and _is_supported()


@functools.cache
def _is_supported() -> bool:
    if os.environ.get("CRYOLOOM_PORTABLE_KERNELS", "") not in ("", "0"):
        return False
    major, minor = (int(part) for part in numba.__version__.split(".")[:2])
    return _TESTED_NUMBA[0] <= (major, minor) < _TESTED_NUMBA[1]
