"""Every tilt that is used has a CTF, or the series is refused with the tilts that lack one."""

from __future__ import annotations

import pytest

from cryoloom.algorithms.series.tilt_ctfs import ctfs_of
from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf
from makers.made_series import make_series

CTF = Ctf(30_000.0, 30_000.0, 0.0)


def test_ctfs_come_in_the_order_of_the_tilts():
    series = make_series(n_tilts=3, shape_yx=(32, 32))
    series = series.with_tilts({i: {"ctf": Ctf(1e4 * (i + 1), 1e4 * (i + 1), 0.0)} for i in range(3)})
    found = ctfs_of(series.tilts[::-1], series.name)
    assert [one.defocus_u_angstrom for one in found] == [
        tilt.ctf.defocus_u_angstrom for tilt in series.tilts[::-1]
    ]


def test_tilts_without_a_ctf_are_named():
    series = make_series(n_tilts=3, shape_yx=(32, 32))
    series = series.with_tilts({i: {"ctf": CTF if i == 1 else None} for i in range(3)})
    with pytest.raises(
        DataUnfitError, match=r"2 of 3 tilts have no CTF; run estimate_ctf first, or exclude them"
    ) as e:
        ctfs_of(series.tilts, series.name, otherwise=", or use none")
    assert str(e.value).count("or exclude them, or use none") == 1
