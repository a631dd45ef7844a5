"""The bead fixer: the planted bead first, gaps filled to half a pixel, the error of left-out points falls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cryoloom.formats.imod.tracks import read_fiducial_model
from cryoloom.store.decisions import in_force
from cryoloom.web.drawn.edited_tracks import bead_centre, edited_tracks, solve, write_tracks
from cryoloom.web.site import Site
from makers.browser import Served, eventually
from makers.web_project import GAP, MISPLACED, MISPLACED_BY_ANGSTROM, PARAMS, MadeProject, predicted_bead

P = "/p/HIV-session"


@pytest.mark.parametrize("click", [(5.0, 0.0), (-3.0, 4.0), (0.3, -5.0)])
@pytest.mark.parametrize("truth", [(40.5, 30.5), (41.2, 29.7)])
@pytest.mark.parametrize("told_px", [6.0, 8.0, 11.0])
def test_a_click_five_pixels_off_finds_the_bead(
    click: tuple[float, float], truth: tuple[float, float], told_px: float, rng: np.random.Generator
) -> None:
    y, x = np.meshgrid(np.arange(60) + 0.5, np.arange(80) + 0.5, indexing="ij")
    image = 100 - 40 / (1 + np.exp(2 * (np.hypot(x - truth[0], y - truth[1]) - 4.0)))
    image += rng.normal(0, 6, image.shape)
    found = bead_centre(image.astype(np.float32), truth[0] + click[0], truth[1] + click[1], told_px)
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
    mended = {**record, "x_angstrom": list(record["x_angstrom"]), "y_angstrom": list(record["y_angstrom"])}
    mended["x_angstrom"][row], mended["y_angstrom"][row] = predicted_bead(made.truths[name], track, index)
    after_tracks = edited_tracks(view.series, mended, ())
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


def wait(page: Any, expression: str) -> None:
    page.wait_for_function(f"() => {expression}")


def test_the_planted_bead_is_first_and_takes_three_keys(window: Any, served: Served) -> None:
    name, track, index = MISPLACED
    opened = window(served)
    page = opened.go(f"{P}/align")
    wait(page, f"document.querySelector('#title').textContent === '{name}'")  # largest error first
    wait(page, "document.querySelector('#view').state?.level !== null")
    page.keyboard.press("'")
    wait(page, f"document.querySelector('#here').textContent.includes('track {track},')")
    assert f"tilt={index}&track={track}" in page.url
    opened.shot("alignment")
    before = float(page.inner_text("#numbers tr[data-name=residual_angstrom] td:nth-child(2)"))
    page.keyboard.press(";")
    wait(page, "document.querySelector('#here').textContent.includes('by hand')")
    page.keyboard.press("Enter")
    cell = "document.querySelector('#numbers tr[data-name=residual_angstrom] td:nth-child(3)')"
    wait(page, f"{cell}.textContent !== ''")
    after = float(page.inner_text("#numbers tr[data-name=residual_angstrom] td:nth-child(3)"))
    assert after < before
    assert not page.locator("#accept").is_disabled()
    project = served.site.project("HIV-session")
    decided = eventually(lambda: in_force(project.decisions(), kind="track", item=name))
    assert [one.target for one in decided] == [f"{track}/{index}"]
    opened.shot("alignment-solved")
    page.click("#revert")
    wait(page, "document.querySelector('#facts').textContent.includes('0 positions by hand')")


def test_a_gap_is_filled_by_a_click_beside_the_bead(window: Any, served: Served, made: MadeProject) -> None:
    name, track, index = GAP
    page = window(served).go(f"{P}/align/{name}?tilt={index}&track={track}")
    wait(page, "document.querySelector('#here').textContent.includes('a gap')")
    wait(page, "document.querySelector('#this').state?.level !== null")
    x, y = predicted_bead(made.truths[name], track, index)
    place = page.evaluate(
        """([x, y, size]) => {
            const view = document.querySelector('#this');
            const [, ny, nx] = view.info.shape;
            const [u, v] = [x / size + Math.floor(nx / 2), y / size + Math.floor(ny / 2)];
            const at = view.toScreen(u + 0.5, v + 0.5);
            const box = view.getBoundingClientRect();
            return [box.left + at[0] + 3 * view.zoom, box.top + at[1]];
        }""",
        [x, y, PARAMS.pixel_size_angstrom],
    )
    page.mouse.click(*place)
    wait(page, "document.querySelector('#here').textContent.includes('by hand')")
    decided = in_force(served.site.project("HIV-session").decisions(), kind="track", item=name)[-1]
    assert decided.target == f"{track}/{index}"
    off = np.hypot(decided.value["x_angstrom"] - x, decided.value["y_angstrom"] - y)
    assert off < 0.5 * PARAMS.pixel_size_angstrom
