"""The tomogram page: linked slices the right way up, slab, picks at the right place, spheres on vesicles."""

from __future__ import annotations

import shutil
import time
from typing import Any

import httpx
import numpy as np
import pytest

from cryoloom.store.decisions import in_force
from cryoloom.web.decide import decide
from cryoloom.web.job import Job
from cryoloom.web.pages import decisions
from cryoloom.web.pictures.images import Image, ImageShelf
from cryoloom.web.pictures.levels import Levels
from cryoloom.web.pictures.oblique import oblique_axes
from makers.browser import Served, eventually, wait_until_ready
from makers.web_project import (
    PARAMS,
    TOO_THIN_BY_ANGSTROM,
    VESICLE_RADIUS_ANGSTROM,
    VOLUME_SHAPE,
    MadeProject,
    add_average,
    add_membrane,
    add_particles,
    add_variant,
    vesicle_centres,
)

P = "/p/HIV-session"
N_LATE = 8  # times that levels are "not yet made"
IS_DRAWN = """([x, y]) => {
    const overlay = document.querySelector('#xy .slice-overlay');
    const box = overlay.getBoundingClientRect();
    const context = new OffscreenCanvas(5, 5).getContext('2d', { willReadFrequently: true });
    context.drawImage(overlay, x - box.left - 2, y - box.top - 2, 5, 5, 0, 0, 5, 5);
    const data = context.getImageData(0, 0, 5, 5).data;
    return data.some((v, i) => i % 4 === 3 && v > 0);
}"""

IS_COLOURED = """(id) => {
    const canvas = document.querySelector(`#${id} canvas`);
    const [width, height] = [100, 80];
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    context.drawImage(canvas, 0, 0, width, height);
    const data = context.getImageData(0, 0, width, height).data;
    let n = 0;
    for (let i = 0; i < data.length; i += 4) n += data[i] > data[i + 2] + 20;
    return n > 0.2 * width * height;
}"""


@pytest.fixture(scope="module")
def made(made_once: MadeProject, tmp_path_factory: pytest.TempPathFactory) -> MadeProject:
    """A copy of the project in which TS_01 has two tomograms, and particles on its beads."""
    folder = tmp_path_factory.mktemp("copy") / "HIV session"
    shutil.copytree(made_once.folder, folder)
    add_variant(folder, made_once.truths["TS_01"])
    add_particles(folder, made_once.truths["TS_01"])
    return MadeProject(folder, made_once.truths)


def state(page: Any, view: str) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(f"() => document.querySelector('#{view}').state")
    return found


def opened_page(
    window: Any, served: Served, name: str = "TS_01", more: str = "?variant=6"
) -> tuple[Any, Any]:
    opened = window(served)
    page = opened.go(f"{P}/tomo/{name}{more}")
    page.wait_for_function(
        """() => ['xy', 'yz', 'xz'].every(id => {
            const state = document.getElementById(id).state;
            return state && state.level !== null && state.ready;
        })"""
    )
    return opened, page


def screen_of(page: Any, view: str, xyz_angstrom: tuple[float, float, float]) -> tuple[float, float]:
    """Where a position lies on screen, from the view's own transform and the definition of positions."""
    n_z, n_y, n_x = VOLUME_SHAPE
    size = PARAMS.pixel_size_angstrom
    x, y, z = (p / size + n // 2 + 0.5 for p, n in zip(xyz_angstrom, (n_x, n_y, n_z), strict=True))
    u, v = {"xy": (x, y), "xz": (x, z), "yz": (z, y)}[view]
    left, top = page.evaluate(
        """([id, u, v]) => {
            const view = document.getElementById(id);
            const box = view.getBoundingClientRect();
            const [x, y] = view.toScreen(u, v);
            return [box.left + x, box.top + y];
        }""",
        [view, u, v],
    )
    return float(left), float(top)


def slice_at(page: Any, view: str, index: int) -> None:
    page.evaluate("([id, i]) => document.getElementById(id).go(i)", [view, index])
    page.wait_for_function(
        "([id, i]) => document.getElementById(id).state.shownIndex === i", arg=[view, index]
    )


def test_three_views_share_place_and_zoom(window: Any, served: Served) -> None:
    opened, page = opened_page(window, served)
    x, y = screen_of(page, "xy", (200.0, -300.0, 0.0))
    page.mouse.click(x, y)
    _, n_y, n_x = VOLUME_SHAPE
    size = PARAMS.pixel_size_angstrom
    assert state(page, "yz")["index"] == pytest.approx(200 / size + n_x // 2, abs=1)
    assert state(page, "xz")["index"] == pytest.approx(-300 / size + n_y // 2, abs=1)
    page.hover("#xy")
    page.keyboard.press("+")
    zooms = {round(state(page, view)["zoom"], 6) for view in ("xy", "yz", "xz")}
    assert len(zooms) == 1
    opened.shot("tomogram")


def test_a_pick_is_kept_at_the_right_angstrom_after_zoom(window: Any, served: Served) -> None:
    _, page = opened_page(window, served)
    project = served.site.project("HIV-session")
    wanted = (112.0, 208.0, -64.0)
    size = PARAMS.pixel_size_angstrom
    slice_at(page, "xy", round(wanted[2] / size) + VOLUME_SHAPE[0] // 2)
    page.hover("#xy")
    page.keyboard.press("+")
    page.keyboard.press("p")
    page.mouse.click(*screen_of(page, "xy", wanted))
    picks = eventually(lambda: in_force(project.decisions(), kind="pick", item="TS_01"))
    assert picks[0].target.startswith("picks/")
    zoom = state(page, "xy")["zoom"]
    assert picks[0].value == pytest.approx(wanted, abs=0.6 * size / zoom + 0.1)
    assert "1 points" in page.inner_text("#picks")
    # in the other views it is drawn at its place: right click takes it away
    page.keyboard.press("v")
    slice_at(page, "xz", int(wanted[1] / size + VOLUME_SHAPE[1] // 2))
    page.mouse.click(*screen_of(page, "xz", wanted), button="right")
    page.wait_for_function("() => document.querySelector('#picks').innerText.includes('No picks')")
    eventually(lambda: not in_force(project.decisions(), kind="pick", item="TS_01"))
    assert len([e for e in project.decisions() if e.kind == "pick"]) == 2  # nothing is forgotten


def test_picks_are_kept_though_the_page_is_left_before_they_are_sent(
    window: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*given: Any) -> Any:
        time.sleep(0.4)
        return decide(*given)

    monkeypatch.setattr(decisions, "decide", slowly)
    opened = window(served)
    page = opened.go(f"{P}/tomo/TS_03")
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    page.fill("#set", "quick")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("p")
    for i in range(6):
        page.mouse.click(250 + 40 * i, 300)
    opened.go(f"{P}/tomo/TS_01")
    project = served.site.project("HIV-session")
    kept = eventually(
        lambda: in_force(project.decisions(), kind="pick", item="TS_03"), lambda found: len(found) >= 6
    )
    assert {one.target.split("/")[0] for one in kept} == {"quick"}


def test_work_that_is_started_has_the_last_pick(
    window: Any, served: Served, started: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Picks are made, and used before the server has answered to the last of them."""

    def slowly(*given: Any) -> Any:
        time.sleep(0.3)
        return decide(*given)

    monkeypatch.setattr(decisions, "decide", slowly)
    page = window(served).go(f"{P}/tomo/TS_04")
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    page.fill("#set", "hurried")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("p")
    for i in range(3):
        page.mouse.click(250 + 60 * i, 320)
    page.click("#picks .pick-set:has-text('hurried') button >> text=make particles")
    eventually(lambda: started)
    project = served.site.project("HIV-session")
    own = in_force(project.decisions(), kind="parameter", item="TS_04")
    (models,) = [one.value for one in own if one.target.endswith(".models")]
    assert [len(model["points_xyz_angstrom"]) for model in models] == [3]


def test_a_sphere_dragged_over_a_vesicle_fits_it(window: Any, served: Served) -> None:
    opened, page = opened_page(window, served)
    centre = vesicle_centres()[0]
    size = PARAMS.pixel_size_angstrom
    slice_at(page, "xy", round(centre[2] / size) + VOLUME_SHAPE[0] // 2)
    page.click("button[data-tool=sphere]")
    x, y = screen_of(page, "xy", (centre[0] + 30, centre[1] - 20, centre[2]))
    to_x, to_y = screen_of(page, "xy", (centre[0] + 1.12 * VESICLE_RADIUS_ANGSTROM, centre[1], centre[2]))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to_x, to_y, steps=5)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#picks').innerText.includes('places')")
    project = served.site.project("HIV-session")
    model = eventually(lambda: in_force(project.decisions(), kind="model", item="TS_01"))[0]
    headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        fitted = http.post(f"{P}/places", json=model.value).json()
        table = http.get(f"{P}/tomo/TS_01/picks.csv").text.splitlines()
    assert fitted["half_axes_angstrom"][0] == pytest.approx(VESICLE_RADIUS_ANGSTROM, rel=0.02)
    assert fitted["centre"] == pytest.approx(centre, abs=size / 2)
    outwards = np.einsum("ij,ij->i", np.array(fitted["places"]) - fitted["centre"], fitted["normals"])
    assert (outwards > 0).all()
    assert len(table) == 1 + len(fitted["places"])
    opened.shot("tomogram-sphere")
    page.keyboard.press("n")
    page.wait_for_function("() => document.querySelector('#flip').textContent === 'normals in'")


def test_a_dragged_slab_edge_is_kept_in_nanometres(window: Any, served: Served, made: MadeProject) -> None:
    opened, page = opened_page(window, served, "TS_04")
    thin = made.truths["TS_04"].thickness_angstrom - TOO_THIN_BY_ANGSTROM
    offset = made.truths["TS_04"].z_offset_angstrom
    assert f"slab {thin / 10:.0f} nm" in page.inner_text("#slab-says")
    page.keyboard.press("t")
    n_y = VOLUME_SHAPE[1]
    y = (int(state(page, "xz")["index"]) - n_y // 2) * PARAMS.pixel_size_angstrom
    page.mouse.move(*screen_of(page, "xz", (0.0, y, offset + thin / 2)))
    page.mouse.down()
    page.mouse.move(*screen_of(page, "xz", (0.0, y, offset + thin / 2 + TOO_THIN_BY_ANGSTROM)), steps=5)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#slab-says').innerText.includes('by user')")
    project = served.site.project("HIV-session")
    decided = eventually(lambda: in_force(project.decisions(), kind="slab", item="TS_04"))
    zoom = state(page, "xz")["zoom"]
    assert decided[0].value["thickness_angstrom"] == pytest.approx(
        made.truths["TS_04"].thickness_angstrom, abs=2 * PARAMS.pixel_size_angstrom / zoom
    )
    opened.shot("tomogram-slab")


def test_a_plane_of_any_direction_goes_through_the_place(window: Any, served: Served) -> None:
    """Turned by a drag, moved by the wheel, picked in: the position is that of the plane's own axes."""
    opened, page = opened_page(window, served, more="?variant=6&at=80.5,60.5,30.5")
    page.keyboard.press("o")
    page.wait_for_function("() => document.querySelector('#oblique').nShown > 0")
    box = page.locator("#oblique").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 100, steps=4)
    page.mouse.up()
    turn = page.evaluate("() => document.querySelector('#oblique').turn")
    assert turn == pytest.approx([35.0, 21.0], abs=0.01)
    page.wait_for_url("**oblique=35.0%2C21.0*")
    page.keyboard.press("p")
    zoom = state(page, "xy")["zoom"]
    page.mouse.click(middle[0] + 40, middle[1] - 30)
    project = served.site.project("HIV-session")
    pick = eventually(lambda: in_force(project.decisions(), kind="pick", item="TS_01"))[-1]
    size = PARAMS.pixel_size_angstrom
    expected = oblique_axes(*turn) @ np.array([40.0, 30.0, 0.0]) / zoom * size
    assert pick.value == pytest.approx(expected, abs=1.5 * size / zoom)
    opened.shot("tomogram-oblique")
    page.keyboard.press("z")
    eventually(lambda: not in_force(project.decisions(), kind="pick", item="TS_01"))


def test_variants_are_flipped_and_compared_with_one_key(window: Any, served: Served) -> None:
    opened, page = opened_page(window, served, more="?variant=6")
    key = "() => document.querySelector('#{}').info.key"
    first = page.evaluate(key.format("xy"))
    page.keyboard.press("d")
    page.wait_for_function(f"first => ({key.format('xy')})() !== first", arg=first)
    page.keyboard.press("d")
    page.wait_for_function(f"first => ({key.format('xy')})() === first", arg=first)
    page.keyboard.press("V")
    page.wait_for_function(f"first => ({key.format('yz')})() !== first", arg=first)
    slice_at(page, "xy", 25)
    page.wait_for_function("() => document.querySelector('#yz').state.shownIndex === 25")
    assert state(page, "yz")["axis"] == "z"
    opened.shot("tomogram-compare")
    page.keyboard.press("V")
    page.wait_for_function("() => document.querySelector('#yz').state.axis === 'x'")


def test_particles_of_a_run_lie_on_what_they_are(window: Any, served: Served, made: MadeProject) -> None:
    opened, page = opened_page(window, served)
    page.wait_for_selector("#particles input")
    page.click("#particles input")
    beads = made.truths["TS_01"].beads_xyz_angstrom
    bead = next(one for one in beads if abs(one[0]) < 900 and abs(one[1]) < 700)
    page.wait_for_function(
        "n => document.querySelector('#particles').innerText.includes(n)", arg=str(len(beads))
    )
    size = PARAMS.pixel_size_angstrom
    slice_at(page, "xy", int(bead[2] / size + VOLUME_SHAPE[0] // 2 + 0.5))
    x, y = screen_of(page, "xy", tuple(bead))
    # The line that says where z points goes to the right: a pixel of it, half a radius from the bead.
    is_drawn = IS_DRAWN
    reach = 0.5 * 75 / size * state(page, "xy")["zoom"]
    page.wait_for_function(f"at => ({is_drawn})(at)", arg=[x + reach, y])
    assert not page.evaluate(is_drawn, [x, y - reach])
    opened.shot("tomogram-particles")
    # The cut-off leaves out those with less; the beads' scores fall evenly from 1 to 0.
    which = next(i for i, one in enumerate(beads) if tuple(one) == tuple(bead))
    score = np.linspace(1, 0, len(beads))[which]
    box = page.locator("score-cut canvas").bounding_box()
    for cut, is_kept in ((score - 0.05, True), (score + 0.05, False)):
        if not 0 < cut < 1:
            continue
        page.mouse.click(box["x"] + cut * box["width"], box["y"] + box["height"] / 2)
        n = int((np.linspace(1, 0, len(beads)) >= cut).sum())
        page.wait_for_function(
            "text => document.querySelector('score-cut').innerText.startsWith(text)",
            arg=f"{n} of {len(beads)}",
        )
        page.wait_for_function(f"([at, is]) => ({is_drawn})(at) === is", arg=[[x + reach, y], is_kept])
    page.keyboard.press("Tab")
    page.check("input[aria-label='Colour by score']")
    opened.shot("tomogram-scores")


def test_the_average_is_drawn_at_its_particles(window: Any, served: Served, made: MadeProject) -> None:
    """A map that reaches 110 angstrom along its z, at particles whose z is the tomogram's x."""
    opened, page = opened_page(window, served)
    particles = int(page.get_attribute("#particles input", "data-item"))
    rod = np.zeros((48, 48, 48), dtype=np.float32)
    rod[24:46, 22:27, 22:27] = 1.0  # 5 angstrom a voxel
    add_average(made.folder, particles, rod)
    page.check(f"input[data-item='{particles}']")
    page.check(f"input[data-shape='{particles}']")
    beads = made.truths["TS_01"].beads_xyz_angstrom
    bead = next(one for one in beads if abs(one[0]) < 900 and abs(one[1]) < 700)
    size = PARAMS.pixel_size_angstrom
    slice_at(page, "xy", int(bead[2] / size + VOLUME_SHAPE[0] // 2 + 0.5))
    x, y = screen_of(page, "xy", tuple(bead))
    scale = state(page, "xy")["zoom"] / size  # 2 pixels, as far as is looked, are some 8 angstrom
    page.wait_for_function(f"at => ({IS_DRAWN})(at)", arg=[x + 105 * scale, y])
    for side in (1, -1):
        assert page.evaluate(IS_DRAWN, [x + 60 * scale, y + side * 12.5 * scale])
        assert not page.evaluate(IS_DRAWN, [x + 60 * scale, y + side * 60 * scale])
        assert not page.evaluate(IS_DRAWN, [x - 60 * scale, y + side * 12.5 * scale])
    page.evaluate("() => document.querySelector('#xy').zoomBy(2)")
    opened.shot("tomogram-average")


def test_particles_without_a_map_say_what_to_do(window: Any, served: Served, made: MadeProject) -> None:
    item = add_particles(made.folder, made.truths["TS_02"], "TS_02")
    opened = window(served)
    page = opened.go(f"{P}/tomo/TS_02?particles={item}")
    page.click(f"input[data-shape='{item}']")
    page.wait_for_function("() => document.body.innerText.includes('no map of these particles is known')")
    assert not page.is_checked(f"input[data-shape='{item}']")
    opened.problems[:] = [one for one in opened.problems if "422" not in one and "404" not in one]


def test_points_on_a_membrane_are_drawn_along_it(window: Any, served: Served, made: MadeProject) -> None:
    """Normals along x: the line goes along y, and not along x."""
    place = (160.0, -208.0, 48.0)
    item = add_membrane(made.folder, np.array([place]))
    _, page = opened_page(window, served, more=f"?variant=6&particles={item}")
    page.wait_for_function(
        "item => document.querySelector(`#particles input[data-item='${item}']`)?.checked", arg=item
    )
    size = PARAMS.pixel_size_angstrom
    slice_at(page, "xy", int(place[2] / size + VOLUME_SHAPE[0] // 2 + 0.5))
    x, y = screen_of(page, "xy", place)
    reach = 25 / size * state(page, "xy")["zoom"]
    page.wait_for_function(f"at => ({IS_DRAWN})(at)", arg=[x, y - reach])
    assert page.evaluate(IS_DRAWN, [x, y + reach])
    assert not page.evaluate(IS_DRAWN, [x + reach, y])


def test_another_volume_lies_over_the_slice_in_colour(window: Any, served: Served) -> None:
    opened, page = opened_page(window, served)
    assert page.locator("#over option").count() == 2
    assert not page.evaluate(IS_COLOURED, "xy")
    page.select_option("#over", index=1)
    page.wait_for_function(IS_COLOURED, arg="xy")
    opened.shot("tomogram-over")
    opened.reload()
    page.wait_for_function(IS_COLOURED, arg="xy")  # it is in the address
    page.select_option("#over", "")
    page.wait_for_function(f"(id) => !({IS_COLOURED})(id)", arg="xy")


def test_views_that_are_being_prepared_are_no_errors_and_come_by_themselves(
    window: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels that take long: every view asks again, and the console stays clean (``window`` looks at it)."""
    _, page = opened_page(window, served)
    asked: list[int] = []
    levels_of = ImageShelf.levels

    def late_levels(self: ImageShelf, image: Image) -> Levels | None:
        if image.key not in shown and len(asked) < N_LATE:
            asked.append(1)
            return None
        return levels_of(self, image)

    shown = {page.evaluate("() => document.querySelector('#xy').info.key")}
    monkeypatch.setattr(ImageShelf, "levels", late_levels)
    page.select_option("#over", index=1)
    for view in ("xy", "xz", "yz"):
        page.wait_for_function(IS_COLOURED, arg=view)
    assert len(asked) == N_LATE
    info = page.evaluate("() => (({ base, key }) => ({ base, key }))(document.querySelector('#xy').info)")
    monkeypatch.setattr(ImageShelf, "levels", lambda self, image: None)
    headers = {"authorization": f"token {served.access.owner_token}"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        for view in (
            "0/x/3.jpg",
            "0/z/strip/0.jpg?count=2",
            "oblique.jpg?x=1&y=1&z=1&w=20&h=20&step=1",
        ):
            answer = http.get(f"{info['base']}/{info['key']}/{view}")
            assert answer.status_code == 202, view
            assert "Preparing this view" in answer.json()["error"]
            assert answer.headers["cache-control"] == "no-store"


def test_next_series_keeps_the_place(window: Any, served: Served) -> None:
    _, page = opened_page(window, served)
    slice_at(page, "xy", 21)
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelector('#title').textContent === 'TS_02'")
    page.wait_for_function("() => document.querySelector('#xy').state.shownIndex === 21")


def test_ctf_page_shows_the_failed_fit_and_leaves_it_out(
    window: Any, served: Served, started: list[Job]
) -> None:
    opened = window(served)
    page = opened.go(f"{P}/ctf")
    page.wait_for_function("() => document.querySelector('#title').textContent === 'TS_03'")  # worst first
    assert page.locator("#grid button").count() == 5
    assert page.locator("#defocus .plot-flagged").count() >= 1
    rings = "() => document.querySelector('#rings').getContext('2d').getImageData(0, 0, 300, 300).data.some(v => v > 0 && v < 255)"  # noqa: E501
    assert page.evaluate(rings)
    opened.shot("ctf")
    # Astigmatism of the failed fit in the polar plot: a click on another tilt goes there.
    assert page.locator("#astigmatism .plot-flagged").count() == 2  # both ends of its direction
    page.keyboard.press("R")
    page.wait_for_function("() => document.querySelector('#choice').textContent.includes('rejected')")
    project = served.site.project("HIV-session")
    own = in_force(project.decisions(), kind="parameter", item="TS_03")
    assert [(one.target, one.value) for one in own] == [("estimate_ctf.predict_tilts", [8])]
    assert [job.as_typed for job in started] == ["cryoloom resume --project ."]
    assert "predict_tilts=[8]" in page.text_content("#command")
    opened.shot("ctf-rejected")
    page.keyboard.press("x")
    decided = eventually(lambda: in_force(project.decisions(), kind="tilt", item="TS_03"))
    assert [(one.target, one.why) for one in decided] == [("8", "CTF")]
    page.goto(f"{served.origin}{P}/series/TS_03?tilt=8")
    wait_until_ready(page)
    page.wait_for_selector("#tilts tr[data-acquisition='8']")
    assert page.inner_text("#tilts tr[data-acquisition='8'] td:last-child") == "CTF"
