"""A series with an excluded tilt, and stand-ins for the programs of IMOD's alignments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.model import Exclusion, Sourced
from makers import imod_stand_ins
from makers.made_series import make_series


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=11, shape_yx=(64, 48), rng=rng, pixel_size_angstrom=10.0)
    excluded = next(tilt.acquisition_index for tilt in made.tilts if tilt.section == 4)
    made = made.with_tilts({excluded: {"exclusion": Exclusion.by_user("ice")}})
    return replace(made, tilt_axis_deg=Sourced.from_told(84.0, "mdoc"))


@pytest.fixture
def imod(stand_in):
    for name in ("tiltxcorr", "xftoxg", "newstack", "imodchopconts", "tiltalign", "xfproduct"):
        stand_in(name, getattr(imod_stand_ins, name.upper()))
