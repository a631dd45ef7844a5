"""The bead fixer: the planted bead first, gaps filled to half a pixel, the error of left-out points falls."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoloom.store.decisions import in_force
from makers.browser import Served, eventually
from makers.web_project import GAP, MISPLACED, PARAMS, MadeProject, predicted_bead

P = "/p/HIV-session"


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
    page.wait_for_url(f"**tilt={index}&track={track}")
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
