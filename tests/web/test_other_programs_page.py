"""Buttons for other programs on the tomogram page, and Neuroglancer in a real Chromium with WebGL."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from cryoloom.web.other_programs.neuroglancer import client_folder
from makers.browser import CHROMIUM, FLAGS, Served, Window, eventually
from makers.web_project import PARAMS, VOLUME_SHAPE, MadeProject, add_particles

P = "/p/HIV-session"
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


def voxel_of(position: Any) -> list[float]:
    """Voxel coordinates x, y, z of a position in angstrom; number i spans i to i + 1."""
    return [
        float(p / PARAMS.pixel_size_angstrom + n // 2 + 0.5)
        for p, n in zip(position, VOLUME_SHAPE[::-1], strict=True)
    ]


@pytest.fixture(scope="module")
def particles(made: MadeProject) -> int:
    return add_particles(made.folder, made.truths["TS_01"])


@pytest.fixture(scope="module")
def browser_with_webgl(playwright: Any) -> Iterator[Any]:
    if client_folder() is None:
        pytest.skip("Neuroglancer is not installed: pip install '.[neuroglancer]'")
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"]
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, *WEBGL])
    yield started
    started.close()


def test_neuroglancer_shows_a_bead_where_it_is(
    browser_with_webgl: Any, served: Served, made: MadeProject, particles: int
) -> None:
    """The middle of the first panel is the place asked for: dark as a bead is, and its particle is there."""
    everywhere = [voxel_of(bead) for bead in made.truths["TS_01"].beads_xyz_angstrom]
    at = next(
        at for at in everywhere if all(8 < v < n - 8 for v, n in zip(at, VOLUME_SHAPE[::-1], strict=True))
    )
    opened = Window(browser_with_webgl, served)
    address = f"{P}/tomo/TS_01/neuroglancer?particles={particles}&at={','.join(map(str, at))}"
    page = opened.go(address)
    frame = page.wait_for_selector("#frame").content_frame()
    frame.wait_for_function("() => window.viewer?.state.toJSON().layers?.length >= 2")
    state = frame.evaluate("() => viewer.state.toJSON()")
    assert state["position"] == pytest.approx(at, abs=0.01)
    lines = next(one for one in state["layers"] if one["name"] == f"bead {particles}")["annotations"]
    first = min(lines, key=lambda one: np.linalg.norm(np.array(one["pointA"]) - at))
    assert first["pointA"] == pytest.approx(at, abs=0.02)
    # The makers turn every particle's z axis to the tomogram's x.
    assert np.subtract(first["pointB"], first["pointA"])[1:] == pytest.approx([0.0, 0.0], abs=0.01)
    frame.evaluate(
        """() => {
            viewer.showAxisLines.value = false;
            for (const layer of viewer.layerManager.managedLayers.slice(1)) layer.setVisible(false);
        }"""
    )
    left, top, width, height = frame.evaluate(
        """() => {
            const b = document.querySelector('.neuroglancer-rendered-data-panel').getBoundingClientRect();
            return [b.left, b.top, b.width, b.height];
        }"""
    )
    x, y = round(left + width / 2), round(top + height / 2)

    def darkness() -> tuple[float, float]:
        """Of the middle of the first panel, and what the darkest tenth around it has."""
        shot = np.asarray(Picture.open(io.BytesIO(page.locator("#frame").screenshot())).convert("L"), float)
        around = shot[y - 25 : y + 26, x - 25 : x + 26]
        return float(shot[y - 1 : y + 2, x - 1 : x + 2].mean()), float(np.percentile(around, 10))

    eventually(darkness, lambda found: found[0] < min(found[1], 60))  # 128 is outside of the volume
    assert not [
        problem for problem in opened.problems if "request outside" in problem or "Content" in problem
    ]
    assert "Disconnected" not in frame.inner_text("body")
    opened.shot("neuroglancer")
    opened.context.close()
