"""Rules of movies, CTF and alignment: units, choices, and what a value asks of another."""

from __future__ import annotations

import pytest

from cryoloom.scipion.rule import NotTranslatedError
from cryoloom.scipion.series import SERIES_RULES
from makers.scipion_rules import converted


@pytest.mark.parametrize(
    ("protocol", "theirs", "value", "pixel", "expected"),
    [
        # Lengths: nanometre, percent; Warp: defocus in micrometre, damping negative.
        ("ProtImodFiducialModel", "fiducialDiameter", 10.0, None, 100.0),
        ("ProtImodBRT", "patchOverlapPercent", 80, None, 0.8),
        ("ProtWarpTSMotionCorr", "defocus_max", 8.0, None, 80000.0),
        ("ProtWarpTSMotionCorr", "bfactor", -500.0, None, 500.0),
        # Choices by number, and frames counted from 1.
        ("ProtImodFiducialAlignment", "rotationSolutionType", 3, None, "per_view"),
        ("ProtTsMotionCorr", "alignFrameN", 0, None, None),  # 0: the last frame
        ("ProtTsMotionCorr", "alignFrame0", 0, None, 1),
        ("ProtImodFiducialModel", "sizeOfPatches", "680 680", 2.0, 1360.0),
    ],
)
def test_units_and_choices(protocol, theirs, value, pixel, expected):
    found = converted(SERIES_RULES, protocol, theirs, value, pixel)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_a_choice_without_a_counterpart():
    with pytest.raises(NotTranslatedError, match="choice 7 has no counterpart"):
        converted(SERIES_RULES, "ProtImodFiducialAlignment", "rotationSolutionType", 7)


def test_beads_or_patches_by_the_number_of_the_model():
    beads, patches = SERIES_RULES["ProtImodFiducialModel"].pieces
    assert [piece.when({"typeOfModel": 0}) for piece in (beads, patches)] == [True, False]
    assert [piece.when({"typeOfModel": 1}) for piece in (beads, patches)] == [False, True]
    assert [piece.when({}) for piece in (beads, patches)] == [True, False]


def test_warps_grid_of_one_by_one_is_no_local_motion():
    rule = SERIES_RULES["ProtWarpTSMotionCorr"]
    name = next(
        theirs for piece in rule.pieces for theirs, (ours, _) in piece.takes.items() if "grid" in ours
    )
    assert converted(SERIES_RULES, "ProtWarpTSMotionCorr", name, 5, x=5, y=4, z=2) == [5, 4, 2]
    with pytest.raises(NotTranslatedError, match="every frame has a shift of its own"):
        converted(SERIES_RULES, "ProtWarpTSMotionCorr", name, 1, x=1, y=1, z=30)
    with pytest.raises(NotTranslatedError, match="needs two points along x, y and time"):
        converted(SERIES_RULES, "ProtWarpTSMotionCorr", name, 2, x=2, y=2, z=1)
