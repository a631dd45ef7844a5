"""The session's axis is the median, whatever single series say; half a turn shows beside the others."""

import pytest

from cryoloom.algorithms.axis_consensus import axis_consensus
from cryoloom.errors import DataUnfitError
from cryoloom.model import Microscope, Sourced, TiltSeries


def session(axes, told=86.8):
    return [
        TiltSeries(
            f"TS_{k:02d}", Microscope(), 2.7, (),
            Sourced.from_told(told, "mdoc").with_measured(axis, "align_series by beads", apply=True),
        )
        for k, axis in enumerate(axes)
    ]  # fmt: skip


@pytest.mark.parametrize("centre", [85.3, 179.9, -90.0, 0.0])
def test_one_bad_series_does_not_move_the_consensus(centre, rng):
    axes = centre + rng.normal(0, 0.05, 9)
    axes[4] += 7.0
    found = axis_consensus(session(axes))
    assert (found.axis_deg - centre + 180) % 360 - 180 == pytest.approx(0.0, abs=0.1)
    assert found.outlying == ("TS_04",)
    assert found.verdicts[4].from_consensus_deg == pytest.approx(7.0, abs=0.2)
    assert 0 < found.error_deg < 0.1
    assert found.verdicts[0].told_deg == 86.8


def test_a_mirrored_series_is_seen_beside_the_others(rng):
    axes = 85.3 + rng.normal(0, 0.05, 6)
    axes[2] -= 180.0
    found = axis_consensus(session(axes))
    assert [v.is_half_a_turn_off for v in found.verdicts] == [False, False, True, False, False, False]
    assert found.axis_deg == pytest.approx(85.3, abs=0.1)


def test_two_series_are_no_session():
    with pytest.raises(DataUnfitError, match="at least 3"):
        axis_consensus(session([85.0, 85.1]))
