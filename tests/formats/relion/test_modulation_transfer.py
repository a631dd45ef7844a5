"""A detector's modulation transfer from a STAR file."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import UserInputError
from cryoloom.formats.relion.modulation_transfer import read_mtf

HEAD = "data_\n\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mtf.star"
        path.write_text(text)
        return path

    return write


def test_values_come_by_frequency(written):
    frequency, transfer = read_mtf(written(HEAD + "0.5 0.2\n0.0 1.0\n0.25 0.6\n"))
    np.testing.assert_array_equal(frequency, [0.0, 0.25, 0.5])
    np.testing.assert_array_equal(transfer, [1.0, 0.6, 0.2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "0.0 0.0\n0.5 0.0\n", "contains no positive, finite values"),
        (
            "data_\n\nloop_\n_rlnTomoName #1\n_rlnX #2\nTS_01 2\nTS_02 3\n",
            "is not a modulation transfer: expected",
        ),
    ],
)
def test_other_tables_are_refused(written, text, message):
    with pytest.raises(UserInputError, match=message):
        read_mtf(written(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserInputError, match=r"none.star does not exist; expected a STAR file"):
        read_mtf(tmp_path / "none.star")
