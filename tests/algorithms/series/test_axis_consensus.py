"""The session's axis is the median, whatever single series say; half a turn shows beside the others."""

import pytest

from cryoloom.algorithms.series.axis_consensus import axis_consensus
from cryoloom.errors import DataUnfitError
from cryoloom.model import Microscope, Sourced, TiltSeries


def session(axes, nominal=86.8, hands=()):
    return [
        TiltSeries(
            f"TS_{k:02d}", Microscope(), 2.7, (),
            Sourced.from_told(nominal, "mdoc").with_measured(axis, "align_series by beads", apply=True),
            handedness=Sourced(told=-1.0, measured=hands[k] if hands else None),
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


def test_the_common_lines_are_a_second_witness(rng):
    """Two estimators, each with its own median: equal, or reported to differ; a series at odds is named."""
    axes, lines = 85.3 + rng.normal(0, 0.05, 8), 85.3 + rng.normal(0, 0.3, 8)
    lines[5] += 4.0
    by_name = {f"TS_{k:02d}": float(line) for k, line in enumerate(lines)}
    found = axis_consensus(session(axes), common_line_deg=by_name)
    assert found.estimators_agree is True
    assert found.common_line_axis_deg == pytest.approx(85.3, abs=0.3)
    assert [v.is_at_odds for v in found.verdicts] == [k == 5 for k in range(8)]
    assert found.outlying == ()
    shifted = {name: line + 2.0 for name, line in by_name.items()}
    assert axis_consensus(session(axes), common_line_deg=shifted).estimators_agree is False
    assert axis_consensus(session(axes)).estimators_agree is None


def test_the_direction_is_given_by_metadata_and_hands(rng):
    axes = 85.3 + rng.normal(0, 0.05, 4)
    assert axis_consensus(session(axes)).direction == "as in the metadata"
    assert axis_consensus(session(axes, nominal=-94.0)).direction == "opposite to the metadata"
    assert axis_consensus(session(axes, nominal=None)).direction == "open"
    assert axis_consensus(session(axes, hands=(-1.0,) * 4)).direction == "as in the metadata"
    # Metadata half a turn wrong mirror every specimen: all measure the other hand.
    mirrored = axis_consensus(session(axes, hands=(1.0, 1.0, 1.0, -1.0)))
    assert mirrored.direction == "open"
    assert [v.hand_agrees for v in mirrored.verdicts] == [False, False, False, True]
