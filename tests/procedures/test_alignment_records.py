"""What an alignment tells of the depth of its tracks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cryoloom.algorithms.alignment.alignment_methods import Alignment
from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.model import Sourced
from cryoloom.procedures import alignment_records
from cryoloom.procedures.alignment_records import record_alignment, record_axis
from makers.blob_series import AXIS, PIXEL, TILTS, make_series
from makers.context import MemoryContext


@pytest.mark.parametrize("method", ["beads", "patches"])
def test_two_surfaces_are_reported_of_beads_and_a_thickness_of_everything(rng, method):
    truth = SeriesGeometry.start(TILTS, AXIS)
    heights = np.repeat([-600.0, 600.0], 8) + rng.normal(0, 15, 16)
    points = np.column_stack([rng.uniform(-900, 900, (16, 2)), heights])
    seen = truth.project(points).transpose(1, 0, 2)
    tracks = Tracks.from_table(seen + rng.normal(0, 2, seen.shape))
    best = Alignment.of(method, tracks, adjust_bundle(tracks, truth), DegreesOfFreedom())
    series, _ = make_series(rng, n_beads=0)
    context = MemoryContext()
    record_alignment(series, best, [best], None, context)
    assert context.figures["track_cloud_angstrom"] == pytest.approx(1220, abs=40)
    assert ("bead_surface_distance_angstrom" in context.figures) == (method == "beads")
    if method == "beads":
        assert context.figures["bead_surface_distance_angstrom"] == pytest.approx(1200, abs=30)


def test_an_error_that_cannot_be_measured_is_reported_as_such_and_fails_nothing(rng):
    truth = SeriesGeometry.start(TILTS, AXIS)
    points = rng.uniform(-900, 900, (6, 3))
    tracks = Tracks.from_table(truth.project(points).transpose(1, 0, 2))
    best = Alignment("beads", tracks, adjust_bundle(tracks, truth), *np.full((2, len(TILTS)), np.nan))
    series, _ = make_series(rng, n_beads=0)
    context = MemoryContext()
    record_alignment(series, best, [best], np.full(len(tracks.view), np.nan), context)
    assert not {"pose_error_angstrom", "left_out_error_angstrom"} & set(context.figures)
    assert all(np.isfinite(value) for value in context.figures.values())
    assert "too few tracks" in context.reasons_not_measurable["pose_error_angstrom"]
    assert context.records["alignment"]["tried"][0]["pose_error_angstrom"] is None


def test_a_series_in_parts_has_no_pose_error(rng):
    truth = SeriesGeometry.start(TILTS, AXIS)
    points = rng.uniform(-900, 900, (20, 3))
    seen = truth.project(points).transpose(1, 0, 2)
    tracks = Tracks.from_table(seen + rng.normal(0, 2, seen.shape))
    best = Alignment.of("patches", tracks, adjust_bundle(tracks, truth), DegreesOfFreedom())
    series, _ = make_series(rng, n_beads=0)
    whole, parts = MemoryContext(), MemoryContext()
    record_alignment(series, best, [best], None, whole)
    record_alignment(series, replace(best, holds_together=False), [best], None, parts)
    assert whole.figures["pose_error_angstrom"] > 0
    assert "pose_error_angstrom" not in parts.figures
    assert "hold the series together" in parts.reasons_not_measurable["pose_error_angstrom"]


@pytest.mark.parametrize(
    ("nominal_off_deg", "line_off_deg", "is_doubted"),
    [
        (2.5, 2.6, True),
        (2.5, 0.1, False),  # the common line agrees with the tracks
        (0.0, 2.5, False),  # the metadata do
        (1.0, 1.0, False),  # patches may be off by so much
        (None, 2.5, False),
        (-177.5, 2.6, True),  # the opposite direction is the same axis
    ],
)
def test_an_axis_that_metadata_and_common_line_contradict_is_doubted(
    nominal_off_deg, line_off_deg, is_doubted, rng, monkeypatch
):
    truth = SeriesGeometry.start(TILTS, AXIS)
    points = rng.uniform(-900, 900, (6, 3))
    tracks = Tracks.from_table(truth.project(points).transpose(1, 0, 2))
    best = Alignment("features", tracks, adjust_bundle(tracks, truth), *np.zeros((2, len(TILTS))))
    series, _ = make_series(rng, n_beads=0)
    nominal_deg = None if nominal_off_deg is None else AXIS + nominal_off_deg
    series = replace(
        series, tilt_axis_deg=Sourced() if nominal_deg is None else Sourced.from_told(nominal_deg, "mdoc")
    )
    line = SimpleNamespace(best_deg=AXIS + line_off_deg, axes_deg=np.zeros(2), scores=np.zeros(2))
    monkeypatch.setattr(alignment_records, "common_line_of", lambda *_: line)
    first = SimpleNamespace(nominal_is_refuted=False, fine=line, circle=line)
    context = MemoryContext()
    images = load_tilt_images(series.best_stack.images, PIXEL, PIXEL)
    record_axis(series, images, first, best, np.ones(len(TILTS), dtype=bool), context)
    assert any("disagrees with the metadata" in text for text in context.warnings) == is_doubted
