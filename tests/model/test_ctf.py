"""Defocus and astigmatism of one image, and the values no lens has."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf


def test_mean_and_difference_of_the_principal_defoci():
    ctf = Ctf(31000.0, 29000.0, 40.0)
    assert (ctf.defocus_angstrom, ctf.astigmatism_angstrom) == (30000.0, 2000.0)
    assert ctf.refers_to == "origin"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((3.0e7, 29000.0, 0.0), "the defocus is 3e.07; expected"),  # nanometres taken for angstrom
        ((30000.0, float("nan"), 0.0), "the defocus is nan"),
        ((30000.0, 29000.0, 1000.0), "the astigmatism angle is 1000"),
        ((30000.0, 29000.0, 0.0, 9000.0), "the phase shift is 9000"),
    ],
)
def test_what_no_lens_has_is_refused(values, message):
    with pytest.raises(DataUnfitError, match=message):
        Ctf(*values)
