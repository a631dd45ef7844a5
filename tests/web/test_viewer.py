"""The viewer of files in a real Chromium: every key press drawn, contrast without requests, right way up."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site
from makers.browser import Served, eventually, serving, wait_until_ready

SHAPE = (40, 200, 300)
BRIGHT = (11, 150, 60)  # z, y, x of the corner of a bright block of 12 x 12 x 12


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("viewer")
    rng = np.random.default_rng(3)
    values = rng.standard_normal(SHAPE).astype(np.float32)
    values[tuple(slice(i, i + 12) for i in BRIGHT)] += 12
    write_mrc(folder / 'a "quoted" <b>.mrc', values, 10.0, kind="volume")
    stack = rng.poisson(20, (7, 120, 160)).astype(np.float32)
    write_mrc(folder / "TS_01.st", stack, 4.0)
    (folder / "TS_01.xf").write_text("0 1 -1 0 0 0\n" * 7)  # turned by a quarter
    (folder / 'a "quoted" <b>.csv').write_text(f"x,y,z\n{BRIGHT[2]},{BRIGHT[1]},{BRIGHT[0]}\n")
    (folder / "TS_01.rawtlt").write_text("\n".join(str(a) for a in range(-9, 12, 3)))
    wide = np.zeros((40, 300, 500), dtype=np.float32)
    for z in range(40):
        wide[z, :, 10 * z : 10 * z + 60] = 9.0  # a bar that moves with the section
    write_mrc(folder / "wide.mrc", wide, 10.0, kind="volume")
    shelf = ImageShelf(folder / "cache")
    names = ('a "quoted" <b>.mrc', "TS_01.st", "wide.mrc")
    site = Site({}, shelf, FilesView([folder / name for name in names], shelf))
    with serving(site) as running:
        yield running
    site.close()


def state(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("document.querySelector('slice-view').state")
    return found


def settled(page: Any, exact: bool = True) -> dict[str, Any]:
    page.wait_for_function(
        "e => { const s = document.querySelector('slice-view')?.state; "
        "return s && s.shownIndex === s.index && s.level !== null && (s.exact || !e) }",
        arg=exact,
    )
    return state(page)


def grey(page: Any, z: int, y: int, x: int) -> float:
    """Grey on screen at a voxel, contrast included."""
    at = page.evaluate(
        """([z, y, x]) => {
            const view = document.querySelector('slice-view');
            const box = view.getBoundingClientRect();
            const at = {x, y, z};
            const [u, v] = {z: ['x', 'y'], y: ['x', 'z'], x: ['z', 'y']}[view.axis];
            const [left, top] = view.toScreen(at[u] + 0.5, at[v] + 0.5);
            return [box.left + left, box.top + top];
        }""",
        [z, y, x],
    )
    clip = {"x": at[0] - 2, "y": at[1] - 2, "width": 4, "height": 4}
    pixels = np.asarray(Image.open(BytesIO(page.screenshot(clip=clip))).convert("L"), dtype=float)
    return float(pixels.mean())


def test_a_bright_voxel_is_bright_in_every_view(window: Any, served: Served) -> None:
    page = window(served).go("/files/0")
    settled(page)
    z, y, x = (i + 6 for i in BRIGHT)
    dark = (z, 40, 200)
    page.evaluate(f"document.querySelector('slice-view').go({z})")
    assert settled(page)["shownIndex"] == z
    eventually(lambda: grey(page, z, y, x) > 180 > grey(page, *dark))
    for axis, index in (("y", y), ("x", x)):
        page.click(f"button[data-axis={axis}]")
        page.evaluate(f"document.querySelector('slice-view').go({index})")
        settled(page)
        far = (30, y, 250) if axis == "y" else (30, 40, x)
        eventually(lambda far=far: grey(page, z, y, x) > 180 > grey(page, *far))  # type: ignore[misc]


def test_thirty_keys_a_second_end_on_the_right_slice(window: Any, served: Served) -> None:
    """None is lost and none comes late; how many are drawn is measured by benchmarks/web_slices.py."""
    page = window(served).go("/files/0")
    settled(page)
    page.keyboard.press("Home")
    settled(page)
    page.evaluate(
        """() => {
            const view = document.querySelector('slice-view');
            window.seen = [];
            view.addEventListener('drawn', () => {
                if (view.state.shownIndex === view.state.index) window.seen.push(view.state.index);
            });
        }"""
    )
    for _ in range(30):
        page.keyboard.press("ArrowUp")
        page.wait_for_timeout(33)
    assert settled(page, exact=False)["index"] == 30
    page.wait_for_function("() => window.seen.at(-1) === 30")
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen)


def test_keys_that_come_while_the_browser_pauses_are_all_shown(window: Any, served: Served) -> None:
    page = window(served).go("/files/0?index=10")
    settled(page)
    page.keyboard.press("ArrowUp")
    settled(page)
    page.wait_for_function(
        """() => [12, 13, 14, 15].every(index => performance.getEntriesByType('resource').some(
            one => one.responseEnd && one.name.includes(`/z/${index}.jpg`)))"""
    )
    page.wait_for_timeout(200)  # and decoded
    seen = page.evaluate(
        """async () => {
            const view = document.querySelector('slice-view');
            const seen = [];
            const whole = new Promise(done => view.addEventListener('drawn', () => {
                seen.push(view.state.shownIndex);
                if (view.state.shownIndex === 15) done();
            }));
            for (let i = 0; i < 4; i++) view.step(1); // in one task: nothing can be drawn between them
            await whole;
            return [...new Set(seen)];
        }"""
    )
    assert seen == [12, 13, 14, 15]


def test_slices_that_are_late_are_shown_small_from_a_strip(window: Any, served: Served) -> None:
    page = window(served).go("/files/2?index=4")
    settled(page)
    view = "document.querySelector('slice-view')"
    page.evaluate(f"{view}.step(1)")
    # A slow machine has asked for the strip before the step.
    page.wait_for_function(
        "() => performance.getEntriesByType('resource').some(one => one.name.includes('/strip/'))"
    )
    held: list[Any] = []
    page.route("**/z/*.jpg?*", lambda route: held.append(route))
    page.evaluate(f"{view}.go(24)")  # in the same strip: 32 sections, half as fine
    page.wait_for_function(f"() => {view}.state.shownIndex === 24")
    assert state(page)["level"] == 1
    eventually(lambda: grey(page, 24, 150, 270) > 180 > grey(page, 24, 150, 100))
    page.unroute("**/z/*.jpg?*")  # lets those that were held go on
    assert settled(page)["level"] == 0


def test_the_level_of_slices_that_pass_is_the_finest_that_arrives_in_time(
    window: Any, served: Served
) -> None:
    """Arrivals every so often, several on their way; keys every 33 ms."""
    page = window(served).go("/files/0")
    levels = page.evaluate(
        """async () => {
            const { ScrubPace } = await import('/static/pictures/scrub-pace.js');
            const after = (each) => {
                const pace = new ScrubPace();
                for (let i = 0; i < 20; i++) pace.passed(33, true, 0, 0);
                for (let i = 1; i < 30; i++) pace.arrived(0, each * (i - 2), each * i);
                return pace;
            };
            const found = [5, 25, 60, 300].map((each) => after(each).level(0, 2));
            const recovered = after(60); // the line was busy and is no more
            for (let i = 0; i < 30; i++) recovered.arrived(1, 5000 + 33 * i, 5000 + 33 * i + 4);
            for (let i = 0; i < 30; i++) recovered.passed(33, true, 1, 0);
            return [...found, recovered.level(0, 2), new ScrubPace().level(0, 2)];
        }"""
    )
    assert levels == [0, 0, 1, 2, 0, 0]


def test_contrast_asks_the_server_for_nothing_until_it_rests(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go("/files/0")
    settled(page)
    dark_before = grey(page, 5, 40, 200)
    n_asked = page.evaluate(
        """() => new Promise((resolve) => {
            const view = document.querySelector('slice-view');
            const count = () => performance.getEntriesByType('resource').length;
            const before = count();
            view.addEventListener('drawn', () => resolve(count() - before), { once: true });
            view.setWindow(-20, 3);
        })"""
    )
    assert n_asked == 0
    eventually(lambda: grey(page, 5, 40, 200) > dark_before + 40)
    page.keyboard.press("i")
    eventually(lambda: grey(page, 5, 40, 200) < 128)


def test_zoom_pan_and_the_value_under_the_pointer(window: Any, served: Served) -> None:
    page = window(served).go("/files/0?index=5")
    settled(page)
    before = state(page)["zoom"]
    page.keyboard.press("+")
    assert state(page)["zoom"] == pytest.approx(1.25 * before)
    box = page.locator("slice-view").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    voxel = page.evaluate(
        "() => { const v = document.querySelector('slice-view'); return v.voxelAt(...v.toPlane(300, 200)) }"
    )
    page.wait_for_function("() => document.querySelector('.slice-readout').textContent.includes('=')")
    text = page.inner_text(".slice-readout")
    stored = served.site.files.image(0).pixels  # type: ignore[union-attr]
    value = float(stored[voxel[0], voxel[1] : voxel[1] + 1, voxel[2] : voxel[2] + 1][0, 0])
    assert float(text.split("=")[1]) == pytest.approx(value, rel=1e-4)
    before_pan = page.evaluate("document.querySelector('slice-view').centre[0]")
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=4)
    page.mouse.up()
    zoom = state(page)["zoom"]
    moved = page.evaluate("document.querySelector('slice-view').centre[0]") - before_pan
    assert moved == pytest.approx(100 / zoom, rel=0.02)


def test_the_address_holds_slice_and_axis(window: Any, served: Served) -> None:
    page = window(served).go("/files/0")
    settled(page)
    page.keyboard.press("\\")
    page.keyboard.press("PageUp")
    index = settled(page)["index"]
    page.reload()
    wait_until_ready(page)
    assert settled(page)["index"] == index
    assert state(page)["axis"] == "y"


def test_a_thick_slice_is_the_mean(window: Any, served: Served) -> None:
    page = window(served).go("/files/0?index=16")
    settled(page)
    page.fill("#thickness", "12")
    page.wait_for_function("() => document.querySelector('slice-view').state.thickness === 12")
    settled(page)
    assert page.inner_text("#thickness-says") == "12"


def test_a_stack_shows_its_angles_and_keys_are_listed(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go("/files/1")
    settled(page, exact=False)
    assert "0.0°" in page.inner_text("#index-says")
    page.keyboard.press("ArrowUp")
    assert "3.0°" in page.inner_text("#index-says")
    page.keyboard.press("a")
    placed = page.evaluate("() => document.querySelector('slice-view').placement(0)")
    assert placed["axis_deg"] == pytest.approx(90)
    page.keyboard.press("a")
    assert page.evaluate("() => document.querySelector('slice-view').placement") is None
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert "next slice or tilt" in page.inner_text("#keys")
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    opened.shot("view")


def test_names_of_files_are_text(window: Any, served: Served) -> None:
    page = window(served).go("/files/0")
    settled(page)
    assert page.inner_text("#file option:checked") == 'a "quoted" <b>.mrc'
    assert page.locator("main b").count() == 0
    assert page.inner_text("#points button") == 'a "quoted" <b>.csv 1'
