"""Tensors at the doors of kernels: where they lie, and tensors over the memory of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["expect_cpu", "new_tensor", "on_cpu", "tensor_over"]


def on_cpu(*tensors: torch.Tensor) -> bool:
    """Whether all tensors lie in the CPU's memory; ValueError where they lie on different devices."""
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        raise ValueError(f"expected tensors on one device, got {sorted(map(str, devices))}")
    return all(device.type == "cpu" for device in devices)


def expect_cpu(kernel: str, *tensors: torch.Tensor) -> None:
    """Raise ValueError unless all tensors lie in the CPU's memory: for a kernel that has one version."""
    if not on_cpu(*tensors):
        raise ValueError(f"{kernel} runs on the CPU; got tensors on {tensors[0].device}, move them first")


def new_tensor(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """A large float32 tensor that is not filled."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.float32))  # NumPy requests large pages, which are faster
    return torch.empty(shape, device=device)


def tensor_over(array: NDArray[Any]) -> torch.Tensor:
    """Tensor over an array's memory, which the kernel only reads: no copy, also where it is write-protected.

    array : of any shape and of a type torch has. torch knows no write protection and warns of such memory.
    """
    if not array.flags.writeable:
        array = np.asarray(_Unprotected(array))
    return torch.from_numpy(array)


class _Unprotected:
    """The same memory described as writable, for NumPy's array interface; keeps the array alive."""

    def __init__(self, array: NDArray[Any]) -> None:
        described = dict(array.__array_interface__)
        self.__array_interface__ = described | {"data": (described["data"][0], False)}
        self._array = array
