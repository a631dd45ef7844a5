"""Nominal, measured and applied values: a measurement applies only where a step says so."""

from __future__ import annotations

from cryoloom.model import Sourced


def test_a_nominal_value_is_applied_with_its_source():
    axis = Sourced.from_told(85.0, "mdoc title")
    assert (axis.told, axis.told_by, axis.applied, axis.measured) == (85.0, "mdoc title", 85.0, None)
    assert Sourced.from_told(None, "mdoc title") == Sourced()


def test_a_user_overrides_and_the_metadata_stay():
    axis = Sourced.from_told(85.0, "mdoc").overruled_by_user(90.0)
    assert (axis.told, axis.told_by, axis.applied) == (85.0, "mdoc", 90.0)
    assert axis.overruled_by_user(None) is axis
    alone = Sourced().overruled_by_user(90.0)
    assert (alone.told, alone.told_by, alone.applied) == (90.0, "user", 90.0)


def test_a_measurement_replaces_the_applied_value_only_on_request():
    axis = Sourced.from_told(85.0, "mdoc")
    kept = axis.with_measured(86.2, "tracks", apply=False)
    assert (kept.measured, kept.measured_by, kept.applied) == (86.2, "tracks", 85.0)
    assert axis.with_measured(86.2, "tracks", apply=True).applied == 86.2
