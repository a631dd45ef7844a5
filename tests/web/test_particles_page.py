"""Sets of particles: what the page says, the cut-off by score, what is started; one real run of it all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.web.job import Job, jobs_of
from makers.browser import Served, Window, eventually
from makers.web_project import PARAMS, VOLUME_SHAPE, MadeProject, add_particles

P = "/p/HIV-session"


@pytest.fixture(scope="module")
def particles(made: MadeProject) -> int:
    return add_particles(made.folder, made.truths["TS_01"])


def test_the_cut_off_counts_as_it_is_moved(
    window: Any, served: Served, made: MadeProject, particles: int, started: list[Job]
) -> None:
    """Scores fall evenly from 1 to 0: at 0.5 half are left."""
    opened = window(served)
    page = opened.go(f"{P}/particles")
    n = len(made.truths["TS_01"].beads_xyz_angstrom)
    page.wait_for_selector("#cut-row:not([hidden])")
    assert page.inner_text("#cut-says") == f"0.00: {n} of {n}"
    page.fill("#cut", "510")
    opened.shot("particles")
    kept = int(page.inner_text("#cut-says").split(": ")[1].split(" of ")[0])
    assert abs(kept - n / 2) <= 1
    page.click("#keep")
    (job,) = eventually(lambda: started)
    assert job.command[:2] == ("run", "clean_particles")
    assert job.command[-1].startswith("min_score=0.51")
    assert page.get_attribute("#tomograms a", "href") == f"{P}/tomo/TS_01?particles={particles}"


def _screen_of(page: Any, xyz_angstrom: Any) -> tuple[float, float]:
    """Where a position lies on screen in XY; goes to its section."""
    x, y, z = (
        float(p / PARAMS.pixel_size_angstrom + n // 2 + 0.5)
        for p, n in zip(xyz_angstrom, VOLUME_SHAPE[::-1], strict=True)
    )
    page.evaluate("z => document.getElementById('xy').go(z)", int(z))
    page.wait_for_function("z => document.getElementById('xy').state.shownIndex === z", arg=int(z))
    left, top = page.evaluate(
        """([u, v]) => {
            const view = document.getElementById('xy');
            const box = view.getBoundingClientRect();
            return view.toScreen(u, v).map((value, i) => value + [box.left, box.top][i]);
        }""",
        [x, y],
    )
    return float(left), float(top)


def _inside(places_xyz_angstrom: Any) -> Any:
    """Places that the volume holds; beads on the surfaces of a thick specimen may lie beyond it."""
    half = np.array(VOLUME_SHAPE[::-1]) / 2 * PARAMS.pixel_size_angstrom
    return places_xyz_angstrom[(np.abs(places_xyz_angstrom) < half - 50).all(axis=1)]


def _wait_for_jobs(made: MadeProject, n: int) -> None:
    jobs = eventually(
        lambda: jobs_of(made.folder), lambda jobs: len(jobs) == n and jobs[-1].returncode is not None
    )
    log = (made.folder / "logs" / "web" / f"{n:04d}.log").read_text()
    assert jobs[-1].returncode == 0, log


@pytest.mark.slow
def test_picks_become_particles_and_an_average_in_real_runs(
    window: Any, served: Served, made: MadeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beads picked by hand in two tomograms: their average is a ball in the middle, bright by convention."""
    monkeypatch.setattr("makers.browser.WAIT_S", 240.0)
    opened: Window = window(served)
    opened.page.set_default_timeout(120_000)
    picked = 0
    for name in ("TS_01", "TS_02"):
        page = opened.go(f"{P}/tomo/{name}")
        page.wait_for_function("() => document.getElementById('xy').state?.ready")
        page.keyboard.press("p")
        for bead in _inside(made.truths[name].beads_xyz_angstrom)[:10]:
            page.mouse.click(*_screen_of(page, bead))
            picked += 1
    page.click("#picks button >> text=make particles")
    _wait_for_jobs(made, 1)
    page = opened.go(f"{P}/particles")
    assert page.inner_text("#sets tbody tr td:nth-child(3)") == str(picked)
    page.fill("#diameter", "300")
    page.select_option("#start-from", "as they lie")
    page.click("#start")
    _wait_for_jobs(made, 2)
    page = opened.go(f"{P}/averages")
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    project = served.site.project("HIV-session")
    average = project.averages()[-1][2]
    assert average.n_particles == picked
    values = MrcPixels(average.map.path)[:]
    middle = tuple(slice(n // 2 - 1, n // 2 + 2) for n in values.shape)
    assert values[middle].mean() > values.mean() + 3 * values.std()
    ball = np.argwhere(
        values > values.max() / 2
    )  # its top is flat: the brightest voxel may be anywhere in it
    assert ball.mean(axis=0) == pytest.approx(np.array(values.shape) // 2, abs=1)
