"""What users come for, played in a real Chromium with every click, drag, key and typed field counted.

The numbers of actions that Scipion's published tutorials take for the same stand beside these in
docs/tutorials/in-the-browser.md. Waiting and opening an address cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from cryoloom.store.decisions import in_force
from cryoloom.web.job import Job
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.roots import Roots
from cryoloom.web.site import Site, open_projects
from makers.browser import Served, eventually, serving, wait_until_ready
from makers.web_project import (
    BAD_CTF,
    FURTHER_MISPLACED,
    GAP,
    MISPLACED,
    PARAMS,
    TOO_THIN_BY_ANGSTROM,
    VESICLE_RADIUS_ANGSTROM,
    VOLUME_SHAPE,
    MadeProject,
    add_average,
    add_particles,
    add_variant,
    make_project,
    predicted_bead,
    vesicle_centres,
)

P = "/p/HIV-session"
DONE = "document.querySelector"
SLICES_SHOWN = "(({ state }) => state?.ready && state.level !== null)(document.getElementById(arg))"


class Hand:
    """Acts on a page as a user does, and counts."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.n = 0

    def click(self, selector: str) -> None:
        self.n += 1
        self.page.click(selector)

    def press(self, key: str) -> None:
        self.n += 1
        self.page.keyboard.press(key)

    def fill(self, selector: str, text: str) -> None:
        self.n += 1
        self.page.fill(selector, text)

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        self.n += 1
        self.page.mouse.move(*begin)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=5)
        self.page.mouse.up()

    def see(self, expression: str, arg: Any = None) -> None:
        """Wait; costs nothing."""
        self.page.wait_for_function(f"arg => {expression}", arg=arg)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeProject:
    """Five beads are misplaced: so many are corrected in the journey."""
    made = make_project(tmp_path_factory.mktemp("journeys") / "HIV session", FURTHER_MISPLACED)
    add_variant(made.folder, made.truths["TS_01"])
    return made


@pytest.fixture(scope="module")
def served(made: MadeProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    sections = "".join(
        f"[ZValue = {i}]\nTiltAngle = {3 * i}\nExposureDose = 3\nSubFramePath = X:\\a_{i}.mrc\n\n"
        for i in range(5)
    )
    for name in ("raw", "other"):
        (made.folder.parent / name).mkdir()
        mdoc = made.folder.parent / name / "TS_01.mdoc"
        mdoc.write_text(f"PixelSpacing = 2.7\nVoltage = 300\n\n{sections}")
    shelf = ImageShelf(tmp_path_factory.mktemp("levels"))
    site = Site(open_projects([made.folder], shelf), shelf, None, Roots((made.folder.parent,)))
    with serving(site) as running:
        yield running
    site.close()


def screen_of(page: Any, view: str, xyz_angstrom: tuple[float, float, float]) -> tuple[float, float]:
    """Where a position of a tomogram lies on screen."""
    x, y, z = (
        p / PARAMS.pixel_size_angstrom + n // 2 + 0.5
        for p, n in zip(xyz_angstrom, VOLUME_SHAPE[::-1], strict=True)
    )
    plane = {"xy": (x, y), "xz": (x, z), "yz": (z, y)}[view]
    left, top = page.evaluate(
        """([id, u, v]) => {
            const view = document.getElementById(id);
            const box = view.getBoundingClientRect();
            return view.toScreen(u, v).map((value, i) => value + [box.left, box.top][i]);
        }""",
        [view, *plane],
    )
    return float(left), float(top)


def new_project(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J1: a click on the raw data, what they say of themselves is there to be verified; start."""
    hand = Hand(window(served).go("/new-project"))
    hand.page.set_default_timeout(90_000)
    hand.click("#inside button >> text=/^raw$/")
    hand.see(f"{DONE}('#found').textContent.startsWith('1 series') && {DONE}('#cards button')")
    assert hand.page.locator("#facts tbody tr").count() > 3
    hand.click("#start")
    hand.page.wait_for_url("**/p/raw_project")
    return hand.n, 3


def shipped_workflow(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J2: the data, a workflow by its picture, start."""
    hand = Hand(window(served).go("/new-project"))
    hand.page.set_default_timeout(90_000)
    hand.click("#inside button >> text=/^other$/")
    hand.see(f"{DONE}('#found').textContent.startsWith('1 series') && {DONE}('#cards button')")
    hand.click("#cards button[data-workflow=facility]")
    assert hand.page.inner_text("#command").endswith("--workflow facility")
    hand.click("#start")
    hand.page.wait_for_url("**/p/other_project")
    return hand.n, 3


def look_through(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J4: four series, a key each after the first click."""
    hand = Hand(window(served).go(f"{P}/series"))
    hand.see(f"{DONE}('data-table a')")
    hand.click("data-table a >> text=TS_01")
    hand.see(f"{DONE}('#title')?.textContent === 'TS_01'")
    wait_until_ready(hand.page)
    for name in ("TS_02", "TS_03", "TS_04"):
        hand.press("]")
        hand.see(f"{DONE}('#title').textContent === arg", name)
    return hand.n, 4


def leave_out_bad_tilts(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J5: one click to the doubted tilts of all series, one key for each of the four."""
    hand = Hand(window(served).go(f"{P}/series"))
    hand.click("#review")
    wait_until_ready(hand.page)
    for key, n_open in (("x", 3), ("x", 2), ("c", 1), ("c", 0)):
        hand.press(key)
        hand.see(f"{DONE}('#facts').textContent.startsWith(arg)", f"{n_open} of 4")
    project = served.site.project("HIV-session")
    decided = eventually(lambda: in_force(project.decisions(), kind="tilt"), lambda found: len(found) == 4)
    assert sum(not one.value["keep"] for one in decided) == 2
    return hand.n, 1 + 4


def repair_the_ctf(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J6: the worst series and its worst tilt are shown; reject the fit, keep the image."""
    hand = Hand(window(served).go(f"{P}/series"))
    hand.click("#rail a >> text=CTF")
    wait_until_ready(hand.page)
    hand.see(f"{DONE}('#title').textContent === arg", BAD_CTF[0])
    hand.click(f"#grid button[data-series={BAD_CTF[0]}]")
    hand.press("R")
    hand.see(f"{DONE}('#choice').textContent.includes('rejected')")
    return hand.n, 4


def correct_beads(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J7: five misplaced beads, the worst first; a gap; solve, and accept the solution."""
    hand = Hand(window(served).go(f"{P}/align"))  # 0 actions where it passes: series are sorted
    hand.see(f"{DONE}('#title').textContent === arg", MISPLACED[0])
    hand.see(f"{DONE}('#view').state?.level !== null")
    corrected = set()
    for n in range(1, 6):
        hand.press("'")
        hand.see(f"{DONE}('#here').textContent.startsWith('track')")
        corrected.add((MISPLACED[0], *track_and_tilt(hand.page)))
        hand.press(";")
        hand.see(f"{DONE}('#facts').textContent.includes(arg)", f"{n} positions by hand")
    assert corrected == {MISPLACED, *FURTHER_MISPLACED}
    hand.press(" ")
    hand.see(f"{DONE}('#here').textContent.includes('a gap')")
    assert track_and_tilt(hand.page) == GAP[1:]
    hand.n += 1
    hand.page.mouse.click(*bead_on_screen(hand.page, predicted_bead(made.truths[GAP[0]], *GAP[1:])))
    hand.see(f"{DONE}('#facts').textContent.includes('6 positions by hand')")
    before = float(hand.page.inner_text("#numbers tr[data-name=left_out_angstrom] td:nth-child(2)"))
    hand.press("Enter")
    hand.see(f"{DONE}('#numbers tr[data-name=residual_angstrom] td:nth-child(3)').textContent !== ''")
    assert float(hand.page.inner_text("#numbers tr[data-name=left_out_angstrom] td:nth-child(3)")) <= before
    return hand.n, 13


def track_and_tilt(page: Any) -> tuple[int, int]:
    """What is looked at, as the address has it a moment later."""
    page.wait_for_timeout(400)
    address = parse_qs(page.evaluate("location.search").removeprefix("?"))
    return int(address["track"][0]), int(address["tilt"][0])


def bead_on_screen(page: Any, xy_angstrom: tuple[float, float]) -> tuple[float, float]:
    """Where a bead lies in the enlarged image of the present tilt."""
    left, top = page.evaluate(
        """([x, y, size]) => {
            const view = document.querySelector('#this');
            const [, ny, nx] = view.info.shape;
            const [u, v] = [x / size + Math.floor(nx / 2) + 0.5, y / size + Math.floor(ny / 2) + 0.5];
            const at = view.toScreen(u, v);
            const box = view.getBoundingClientRect();
            return [box.left + at[0], box.top + at[1]];
        }""",
        [*map(float, xy_angstrom), PARAMS.pixel_size_angstrom],
    )
    return float(left), float(top)


def is_it_aligned(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J8: aligned images, played."""
    hand = Hand(window(served).go(f"{P}/series/TS_01"))
    hand.press("a")
    hand.press("p")
    hand.see(f"{DONE}('#aligned').getAttribute('aria-pressed') === 'true'")
    return hand.n, 2


def correct_the_slab(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J9: draw the edge where the specimen ends; use it."""
    page = window(served).go(f"{P}/tomo/TS_04")
    hand = Hand(page)
    hand.see(
        "document.querySelector('#xz').state?.ready && document.querySelector('#xz').state.level !== null"
    )
    truth = made.truths["TS_04"]
    edge = truth.z_offset_angstrom + (truth.thickness_angstrom - TOO_THIN_BY_ANGSTROM) / 2
    hand.press("t")
    begin, end = ((0.0, 0.0, edge), (0.0, 0.0, edge + TOO_THIN_BY_ANGSTROM))
    hand.drag(screen_of(page, "xz", begin), screen_of(page, "xz", end))
    hand.see(f"!{DONE}('#use-slab').hidden")
    hand.click("#use-slab")
    project = served.site.project("HIV-session")
    own = eventually(lambda: in_force(project.decisions(), kind="parameter", item="TS_04"))
    assert {one.target for one in own} == {
        "reconstruct.thickness_angstrom",
        "reconstruct_sirt.thickness_angstrom",
    }
    return hand.n, 3


def compare_variants(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J10: another variant by what differs in it; then a key a variant, and two side by side."""
    address = f"{P}/tomo/TS_01"
    page = window(served).go(address)
    hand = Hand(page)
    hand.page.set_default_timeout(90_000)
    hand.see("document.querySelector('#xy').state?.level !== null")
    hand.click("#more-variants")
    hand.see(f"{DONE}('#field-method') && {DONE}('#command')?.textContent.includes('reconstruct')")
    hand.n += 1
    page.select_option("#field-method", "sart")
    hand.see(f"{DONE}('#command').textContent.includes('sart')")
    hand.click("#start")
    hand.see(f"{DONE}('#messages').textContent.includes('Started: reconstruct')")
    page.go_back()  # what that run leaves is there already
    hand.see("document.querySelector('#xy')?.state?.level !== null")
    wait_until_ready(page)
    first = page.evaluate("() => document.querySelector('#xy').info.key")
    hand.press("1")
    hand.see("document.querySelector('#xy').info.key !== arg", first)
    hand.press("V")
    hand.see("document.querySelector('#yz').info.key === arg", first)
    return hand.n, 3 + 2


def pick_vesicles(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J11: two vesicles as spheres, their places as particles."""
    page = window(served).go(f"{P}/tomo/TS_02")
    hand = Hand(page)
    hand.see(
        "document.querySelector('#xy').state?.ready && document.querySelector('#xy').state.level !== null"
    )
    hand.press("s")
    for n, centre in enumerate(vesicle_centres(), 1):
        index = round(centre[2] / PARAMS.pixel_size_angstrom) + VOLUME_SHAPE[0] // 2
        page.evaluate("i => document.getElementById('xy').go(i)", index)
        hand.n += 1  # a turn of the wheel
        hand.see("document.getElementById('xy').state.shownIndex === arg", index)
        rim = (centre[0] + 1.1 * VESICLE_RADIUS_ANGSTROM, centre[1], centre[2])
        hand.drag(screen_of(page, "xy", centre), screen_of(page, "xy", rim))
        hand.see(f"({DONE}('#picks').innerText.match(/places/g) ?? []).length === arg", n)
    hand.click("#picks button >> text=make particles")
    project = served.site.project("HIV-session")
    own = eventually(lambda: in_force(project.decisions(), kind="parameter", item="TS_02"))
    (models,) = [one.value for one in own if one.target == "pick_by_hand.models"]
    assert [one["shape"] for one in models] == ["sphere", "sphere"]
    return hand.n, 16


def change_motion_correction(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J3: nothing to do; to change something, its name and the new value. Enter starts it."""
    hand = Hand(window(served).go(f"{P}/run/2"))
    hand.page.set_default_timeout(90_000)
    hand.see("document.querySelector('#parameters a')")
    hand.click("#parameters a >> text=b_factor_angstrom2")
    hand.see("document.activeElement.id === 'field-b_factor_angstrom2'")
    hand.page.keyboard.type("500")
    hand.n += 1  # a value typed into a field
    n_changes = hand.n
    hand.page.keyboard.press("Enter")
    hand.see("document.querySelector('#messages').textContent.includes('Started: align_frames')")
    return n_changes, 2


def average_and_export(window: Any, served: Served, made: MadeProject) -> tuple[int, int]:
    """J12: average the newest set with a symmetry, look at slices and halves, hand it to RELION."""
    truth = made.truths["TS_01"]
    particles = add_particles(made.folder, truth)
    hand = Hand(window(served).go(f"{P}/series"))
    hand.click("#rail a >> text=Particles")
    wait_until_ready(hand.page)
    hand.see("document.querySelector('#title').textContent.includes('pick_blobs')")
    hand.n += 1
    hand.page.select_option("#symmetry", "C6")
    hand.click("#start")
    hand.see("document.querySelector('#messages').textContent.includes('Started')")
    add_average(made.folder, particles)  # what those runs leave
    hand.click("#rail a >> text=Averages")
    wait_until_ready(hand.page)
    hand.see("document.querySelector('#xy').state?.level !== null")
    hand.press("2")
    hand.see("document.querySelector('#maps button:nth-child(2)').getAttribute('aria-pressed') === 'true'")
    hand.n += 1
    hand.page.select_option("#export", "relion5")
    hand.see("document.querySelector('#messages').textContent.includes('written into exports/relion5')")
    return hand.n, 10


JOURNEYS = (
    new_project,
    shipped_workflow,
    change_motion_correction,
    average_and_export,
    look_through,
    leave_out_bad_tilts,
    repair_the_ctf,
    correct_beads,
    is_it_aligned,
    correct_the_slab,
    compare_variants,
    pick_vesicles,
)


@pytest.mark.slow
@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda one: one.__name__)
def test_it_takes_no_more_actions_than_promised(
    window: Any, served: Served, made: MadeProject, started: list[Job], journey: Any
) -> None:
    n_actions, promised = journey(window, served, made)
    assert n_actions <= promised
    asks_for_work = {
        new_project: 1,
        shipped_workflow: 1,
        compare_variants: 1,
        change_motion_correction: 1,
        average_and_export: 4,
        repair_the_ctf: 1,
        correct_the_slab: 1,
        pick_vesicles: 2,
    }
    assert len(started) == asks_for_work.get(journey, 0)


@pytest.mark.parametrize("journey", [look_through, is_it_aligned], ids=lambda one: one.__name__)
def test_two_of_them_always(window: Any, served: Served, made: MadeProject, journey: Any) -> None:
    """The quick ones; all of them with -m slow."""
    n_actions, promised = journey(window, served, made)
    assert n_actions <= promised
