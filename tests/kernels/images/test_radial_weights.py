"""Spectra weighted by the length of the frequency, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.images import radial_weights as door
from cryoloom.kernels.images.radial_weights import weight_radially


@pytest.mark.parametrize("use_twin", [False, True], ids=["numba", "torch"])
@pytest.mark.parametrize("shape", [(20, 11), (21, 8)])
def test_weights_are_those_interpolated_in_the_table(rng, shape, use_twin, monkeypatch):
    if use_twin:
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    fy, fx = (rng.uniform(-0.5, 0.5, n).astype(np.float32) for n in shape)
    fy[0], fx[0] = 0.0, 0.0
    table = rng.uniform(size=50).astype(np.float32)
    length = np.hypot(fy[:, None], fx[None])
    highest = float(length.max())
    expected = spectrum * np.interp(length, np.linspace(0, highest, 50), table)
    weight_radially(*(torch.from_numpy(a) for a in (spectrum, fy, fx, table)), highest)
    np.testing.assert_allclose(spectrum, expected, atol=2e-5)


def test_frequencies_must_be_those_of_the_spectrum():
    with pytest.raises(ValueError, match=r"spectrum \(3, 4\)"):
        weight_radially(
            torch.zeros((3, 4), dtype=torch.complex64), torch.zeros(3), torch.zeros(5), torch.zeros(9), 1.0
        )
