"""Tracks corrected by hand: centred on their bead, solved again, written as the step reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cryoloom.formats.imod.tracks import read_fiducial_model
from cryoloom.web.drawn.edited_tracks import bead_centre, edited_tracks, solve, write_tracks
from cryoloom.web.site import Site
from makers.web_project import MISPLACED, MISPLACED_BY_ANGSTROM, PARAMS, MadeProject, predicted_bead


@pytest.mark.parametrize("click", [(5.0, 0.0), (-3.0, 4.0), (0.3, -5.0)])
@pytest.mark.parametrize("truth", [(40.5, 30.5), (41.2, 29.7)])
@pytest.mark.parametrize("given_px", [6.0, 8.0, 11.0])
def test_a_click_five_pixels_off_finds_the_bead(
    click: tuple[float, float], truth: tuple[float, float], given_px: float, rng: np.random.Generator
) -> None:
    y, x = np.meshgrid(np.arange(60) + 0.5, np.arange(80) + 0.5, indexing="ij")
    image = 100 - 40 / (1 + np.exp(2 * (np.hypot(x - truth[0], y - truth[1]) - 4.0)))
    image += rng.normal(0, 6, image.shape)
    found = bead_centre(image.astype(np.float32), truth[0] + click[0], truth[1] + click[1], given_px)
    assert np.hypot(found[0] - truth[0], found[1] - truth[1]) < 0.5


def test_correcting_the_misplaced_bead_lowers_both_errors(site: Site, made: MadeProject) -> None:
    name, track, index = MISPLACED
    view = site.project("HIV-session").series(name)
    assert view.series is not None
    record = view.record("residuals")
    before = solve(edited_tracks(view.series, record, ()), again=False)
    worst = int(np.nanargmax(before.solution.residual_angstrom))
    tracks = edited_tracks(view.series, record, ())
    assert (tracks.track[worst], tracks.tilts[tracks.tilt[worst]].acquisition_index) == (track, index)
    assert before.solution.residual_xy_angstrom[worst] == pytest.approx(MISPLACED_BY_ANGSTROM, abs=15)
    row = next(
        i
        for i, (t, a) in enumerate(zip(record["track"], record["acquisition_index"], strict=True))
        if (t, a) == (track, index)
    )
    edited = {**record, "x_angstrom": list(record["x_angstrom"]), "y_angstrom": list(record["y_angstrom"])}
    edited["x_angstrom"][row], edited["y_angstrom"][row] = predicted_bead(made.truths[name], track, index)
    after_tracks = edited_tracks(view.series, edited, ())
    after = solve(after_tracks)
    assert after.summary(after_tracks.as_tracks())["residual_angstrom"] < 4
    assert after.left_out_angstrom[worst] < 0.2 * before.left_out_angstrom[worst]


def test_tracks_are_written_as_the_step_reads_them(site: Site, tmp_path: Any) -> None:
    project = site.project("HIV-session")
    view = project.series("TS_04")
    assert view.series is not None
    series = project.with_open_pixels(view.series)
    tracks = edited_tracks(series, view.record("residuals"), ())
    path = write_tracks(series, tracks, tmp_path)
    again = read_fiducial_model(path, (120, 160), PARAMS.pixel_size_angstrom, prealigned=False)
    assert len(again.track) == len(tracks.track)
    order = np.lexsort((again.view, again.track))
    _, numbered = np.unique(tracks.track, return_inverse=True)
    section = np.array([t.section for t in tracks.tilts])[tracks.tilt]
    mine = np.lexsort((section, numbered))
    np.testing.assert_array_equal(again.view[order], section[mine])
    np.testing.assert_allclose(
        again.position_xy_angstrom[order], tracks.position_xy_angstrom[mine], atol=0.01
    )
