"""Low frequencies of rows and of columns are those of the whole transform, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.kernels.rows import low_frequencies as door
from cryoloom.kernels.rows.low_frequencies import low_frequencies_of_columns, low_frequencies_of_rows


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)


@pytest.mark.parametrize("shape", [(24, 30), (25, 31)])
def test_rows_then_columns_are_the_cropped_transform(shape, rng):
    image = rng.normal(size=shape).astype(np.float32)
    spectra = torch.zeros((shape[0], 8), dtype=torch.complex64)
    for top in range(0, shape[0], 7):
        low_frequencies_of_rows(torch.from_numpy(image[top : top + 7]), spectra[top : top + 7])
    kept = low_frequencies_of_columns(spectra, 10)
    whole = np.fft.rfft2(image)[:, :8]
    assert kept.dtype == torch.complex64
    assert_allclose(kept, np.concatenate([whole[:5], whole[-5:]]), atol=1e-4)


def test_frequencies_that_rows_and_columns_do_not_have_are_refused():
    with pytest.raises(ValueError, match="do not have the frequencies"):
        low_frequencies_of_rows(torch.zeros((3, 10)), torch.zeros((3, 7), dtype=torch.complex64))
    columns = torch.zeros((10, 3), dtype=torch.complex64)
    with pytest.raises(ValueError, match="expected an even number of frequencies up to 10, got 5"):
        low_frequencies_of_columns(columns, 5)
