"""Where tensors lie, and tensors over arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.tensors import expect_cpu, on_cpu, tensor_over


def test_tensors_lie_on_the_cpu_or_on_one_other_device():
    here, elsewhere = torch.zeros(2), torch.zeros(2, device="meta")
    assert on_cpu(here, here)
    assert not on_cpu(elsewhere)
    with pytest.raises(ValueError, match=r"one device, got .'cpu', 'meta'."):
        on_cpu(here, elsewhere)
    with pytest.raises(ValueError, match="add_events runs on the CPU; got tensors on meta"):
        expect_cpu("add_events", elsewhere)


def test_a_protected_array_is_read_in_place_and_without_a_warning():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, 1:]
    array.flags.writeable = False
    tensor = tensor_over(array)
    np.testing.assert_array_equal(tensor, array)
    assert tensor.data_ptr() == array.__array_interface__["data"][0]
    assert tensor.stride() == (12, 1)


def test_a_protected_array_lives_as_long_as_its_tensor():
    tensor = tensor_over(np.frombuffer(bytes(range(200)) * 5000, np.uint8))
    other = [np.zeros(1_000_000, np.uint8) for _ in range(5)]
    assert int(tensor[-1]) == 199
    assert len(other) == 5
