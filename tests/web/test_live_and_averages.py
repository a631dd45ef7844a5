"""Live page, report in its sandbox, and averages."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cryoloom.engine.live.alert_settings import (
    AlertSettings,
    alert_settings,
    changed_settings,
    keep_alert_settings,
)
from cryoloom.engine.live.alerts import Alert, AlertLog, judged, keep_alert_log
from cryoloom.engine.live.session_points import FOLLOWED
from cryoloom.formats.exchange.parquet import ParquetTable, write_parquet
from cryoloom.geometry.orientation_grid import z_axis_to
from cryoloom.model import ParticleRows, Particles
from cryoloom.store.codec import encode, fingerprint
from cryoloom.store.database import Database
from cryoloom.store.records import ItemRecord
from cryoloom.web.pages.live import live_facts
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site, open_projects
from makers.browser import Served, eventually, serving
from makers.web_project import MadeProject, average_of

P = "/p/HIV-session"


def test_live_follows_a_run_and_a_killed_one_is_not_shown_as_running(
    window: Any, served: Served, made: MadeProject
) -> None:
    opened = window(served)
    page = opened.go(f"{P}/live")
    page.wait_for_function("() => document.querySelectorAll('#strip a').length === 5")
    assert "1 failed" in page.inner_text("#facts")
    assert page.locator("main img[onerror]").count() == 0
    opened.shot("live")
    code = (
        "import sys; from pathlib import Path; from cryoloom.store.database import Database\n"
        "d = Database.open(Path(sys.argv[1])); r = d.begin_run('reconstruct', 'reconstruct', 1, {}, 5, {})\n"
        "print(r.id)"
    )
    subprocess.run([sys.executable, "-c", code, str(made.folder)], check=True, capture_output=True)
    page.wait_for_function("() => document.querySelector('#facts').textContent.includes(', running')")


def test_a_limit_is_dragged_kept_and_raises_an_alert(window: Any, served: Served, made: MadeProject) -> None:
    """The upper limit of the residual is drawn below those of the session: four of four are beyond it."""
    opened = window(served)
    page = opened.go(f"{P}/live")
    at = [one.figure for one in FOLLOWED].index("residual_mean_angstrom")
    line = page.locator(f"#plots > div:nth-child({at + 1}) .plot-limit").last
    line.wait_for(state="attached")

    def dragged() -> AlertSettings:
        """The settings after the line was dragged from where it is; pictures that come late move it."""
        left, top = line.evaluate("line => (({ left, top }) => [left, top])(line.getBoundingClientRect())")
        plot = page.locator(f"#plots > div:nth-child({at + 1}) svg").bounding_box()
        page.mouse.move(left + 30, top)
        page.mouse.down()
        page.mouse.move(left + 30, plot["y"] + 0.6 * plot["height"], steps=4)
        page.mouse.up()
        page.wait_for_timeout(500)
        return alert_settings(made.folder)

    settings = eventually(dragged, lambda one: bool(one.limits))
    (figure,) = settings.limits
    assert figure == "residual_mean_angstrom"
    facts = live_facts(served.site.project("HIV-session"))
    shown = facts["plots"][at]
    assert shown["limits"] == pytest.approx([settings.limits[figure].low, settings.limits[figure].high])
    keep_alert_settings(made.folder, changed_settings(settings, limits={figure: {"high": 0.5}}, at_least=4))
    opened.reload()
    page.wait_for_selector("#alerts .problem")
    assert "4 of the last 4 series: residual above 0.5 Å" in page.inner_text("#alerts")
    page.click("#alerts button")
    page.wait_for_selector("#alerts .quiet")
    assert alert_settings(made.folder).muted == (figure,)
    assert "--limit residual_mean_angstrom=:0.5" in page.text_content("#command")
    page.keyboard.press("L")
    eventually(lambda: alert_settings(made.folder).limits, lambda limits: not limits)


def test_an_alert_reaches_every_open_page(window: Any, served: Served, made: MadeProject) -> None:
    page = window(served).go(f"{P}/series")
    page.wait_for_selector("#lamp[data-state=up]")
    page.wait_for_timeout(600)  # how things stand is known
    log = judged(AlertLog(), [Alert("failed", "3 of the last 5 series failed")], AlertSettings(), 0.0, "HIV")
    keep_alert_log(made.folder, log)
    page.wait_for_selector("#rail a.has-alert")
    assert "3 of the last 5 series failed" in page.inner_text("#messages")
    keep_alert_log(made.folder, AlertLog())
    page.wait_for_selector("#rail a:not(.has-alert)[href$='/live']")


def test_the_kiosk_sees_live_and_can_change_nothing(window: Any, served: Served) -> None:
    page = window(served, served.access.viewer_token).go(f"{P}/live")
    page.wait_for_function("() => document.querySelectorAll('#strip a').length === 5")
    assert page.locator("#undo").count() == 0
    assert "look only" in page.inner_text("#bar")


def test_the_report_runs_in_a_sandbox(window: Any, served: Served, made: MadeProject) -> None:
    opened = window(served)
    page = opened.go(f"{P}/report")
    assert "No report is here yet" in page.inner_text("main")
    text = "<!doctype html><p id=p>report</p><script>p.textContent += ' ' + origin</script>"
    (made.folder / "report.html").write_text(text)
    opened.reload()
    frame = page.frame_locator("iframe")
    assert frame.locator("#p").inner_text() == "report null"  # its scripts run, and reach nothing of ours
    headers = {"authorization": f"token {served.access.owner_token}"}
    policy = httpx.get(f"{served.origin}{P}/report.html", headers=headers).headers["content-security-policy"]
    assert policy.startswith("sandbox")
    assert "allow-same-origin" not in policy


def test_the_report_is_made_by_its_button(window: Any, served: Served, made: MadeProject) -> None:
    """A process of its own makes it; the page shows it when it is there."""
    (made.folder / "report.html").unlink(missing_ok=True)
    page = window(served).go(f"{P}/report")
    assert page.locator("iframe").count() == 0
    page.click("#write")
    page.wait_for_selector("iframe")
    assert "TS_01" in page.frame_locator("iframe").locator("body").inner_text()
    assert page.inner_text("#made").startswith("made 20")
    assert page.inner_text("#write") == "Make it again"
    looking = window(served, served.access.viewer_token).go(f"{P}/report")
    assert looking.locator("#write").count() == 0


def passes_shown() -> list[dict[str, Any]]:
    """Three passes whose sections are black but for a white quarter: upper right of XY in the second one."""
    shown = []
    for number in range(3):
        sections = np.zeros((3, 16, 16), dtype=np.uint8)
        if number == 1:
            sections[0, 8:, 8:] = 255
        shown.append(
            {
                "box_angstrom": 240.0,
                "correlation": [1.0, 0.9, 0.2 + 0.2 * number, 0.0],
                "side_px": 16,
                "sections": base64.b64encode(sections.tobytes()).decode(),
            }
        )
    return shown


DOUBT = (
    "the halves agree to 12.1 A, but the particles do not determine their orientations: where one half of "
    "the tilts finds them, the other half gains 0.22 of what particles like the average would gain "
    "(expected at least 0.3), 2.4 standard errors. Both halves agree with the first map that they began "
    "with, as smooth shells and layers do. If there may be other particles among them, divide them with "
    "classify and refine each class by itself; otherwise begin with another first map"
)
"""As `refine` gives it."""


@pytest.fixture(scope="module")
def with_average(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("average") / "averaged"
    folder.mkdir()
    database = Database.create(folder)
    made = average_of(folder)
    divided = database.begin_run("classify", "classify", 1, {}, None, {})
    for name, n in (("class_1", 900), ("class_2", 300)):
        one = replace(
            made,
            name=name,
            n_particles=n,
            resolution_angstrom=None,
            resolution_note="classes are compared to 15.0 A",
            pose_doubt=DOUBT,
        )
        database.record_item(
            ItemRecord(
                divided.id, name, fingerprint(name), "done", value=encode(one, folder), output="averages"
            )
        )
    rows = ParticleRows.of("TS_01", np.zeros((1200, 3)))
    write_parquet(folder / "divided.parquet", rows.columns())
    doubted = Particles("all", ParquetTable(folder / "divided.parquet"), (), pose_doubt=DOUBT)
    database.record_item(
        ItemRecord(divided.id, "all", fingerprint("divided"), "done", value=encode(doubted, folder))
    )
    database.end_run(divided.id, "done")
    begun = database.begin_run("initial_model", "initial_model", 1, {}, None, {})
    first = replace(made, name="first_map", curves=(), resolution_angstrom=None)
    of_starts = [
        {
            "start": s,
            "exponent": 0.25 * (i + 1),
            "band_angstrom": 40 - 10 * i,
            "log_likelihood": -30 + 10 * i + s,
        }
        for s in range(2)
        for i in range(3)
    ]
    axes = [{"order": 2, "likeness": 0.4}, {"order": 4, "likeness": 0.71}]
    database.record_item(
        ItemRecord(
            begun.id, "first_map", fingerprint("first"), "done", value=encode(first, folder),
            records={"passes": of_starts, "axes": axes},
        )
    )  # fmt: skip
    database.end_run(begun.id, "done")
    run = database.begin_run("refine", "refine", 1, {}, None, {})
    passes = [
        {"pass": "exhaustive", "resolution_angstrom": r, "angle_change_deg": r / 10} for r in (40, 25, 20)
    ]
    item = ItemRecord(
        run.id, "all", fingerprint("a"), "done", value=encode(made, folder),
        figures={"n_particles": 1234.0}, records={"iterations": passes, "pass_sections": passes_shown()},
    )  # fmt: skip
    database.record_item(item)
    rng = np.random.default_rng(4)
    directions = rng.standard_normal((800, 3)) + np.array([0.0, 0.0, 1.5])
    rows = ParticleRows.of(
        "TS_01", np.zeros((800, 3)), rotations=z_axis_to(directions), score=rng.normal(0.3, 0.05, 800)
    )
    write_parquet(folder / "particles.parquet", rows.columns())
    particles = encode(Particles("all", ParquetTable(folder / "particles.parquet"), ()), folder)
    database.record_item(
        ItemRecord(run.id, "all", fingerprint("b"), "done", value=particles, output="particles")
    )
    database.end_run(run.id, "done")
    database.close()
    shelf = ImageShelf(folder / "levels")
    site = Site(open_projects([folder], shelf), shelf)
    with serving(site) as running:
        yield running
    site.close()


def test_an_average_shows_slices_curve_and_surface(window: Any, with_average: Served) -> None:
    opened = window(with_average)
    page = opened.go("/p/averaged/averages")
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    page.wait_for_function("() => document.querySelector('#surface').nPixels > 2000")
    assert "20.0 Å (FSC 0.143)" in page.inner_text("#facts")
    assert "20" in page.inner_text("#figures")
    before = page.evaluate("() => document.querySelector('#xy').info.key")
    page.keyboard.press("2")
    page.wait_for_function("before => document.querySelector('#xy').info.key !== before", arg=before)
    page.fill("#level", "98")
    page.wait_for_function("() => document.querySelector('#surface').nPixels < 2000")
    page.fill("#level", "40")
    page.wait_for_function("() => document.querySelector('#surface').nPixels > 2000")
    page.keyboard.press("1")
    page.wait_for_selector("#angles:not([hidden])")
    assert "800 particles" in page.inner_text("#angles-says")
    assert page.get_attribute("#by-series a", "href").startswith("/p/averaged/tomo/TS_01?particles=")
    page.fill("#level", "60")
    page.wait_for_timeout(600)  # the surface is fine on rest
    opened.shot("average")
    page.locator("#iterations circle").nth(1).click()
    assert page.inner_text("#iteration-says") == (
        "After pass 2: angle change deg 2.5, pass exhaustive, resolution angstrom 25"
    )


def test_passes_of_the_refinement_are_tabs(window: Any, with_average: Served) -> None:
    opened = window(with_average)
    page = opened.go("/p/averaged/averages")
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    assert page.inner_text("#passes").split()[:5] == ["passes", "1", "2", "3", "final"]
    page.click("#passes [data-pass='1']")
    corners = """() => {
        const canvas = document.querySelector('#xy .pass-picture');
        const data = canvas.getContext('2d').getImageData(0, 0, 16, 16).data;
        return [[2, 2], [13, 2], [2, 13], [13, 13]].map(([x, y]) => data[4 * (16 * y + x)]);
    }"""
    assert page.evaluate(corners) == [0, 255, 0, 0]  # rows run upwards
    assert page.inner_text("#pass-says") == "sections through the middle after pass 2, 25.0 Å"
    assert page.inner_text("#iteration-says").startswith("After pass 2:")
    opened.shot("average-pass")
    page.keyboard.press(".")
    assert page.inner_text("#passes [aria-pressed=true]") == "3"
    page.keyboard.press(".")
    assert page.inner_text("#passes [aria-pressed=true]") == "final"
    assert page.locator(".pass-picture").count() == 0
    page.keyboard.press(",")
    assert page.inner_text("#passes [aria-pressed=true]") == "3"


def test_classes_are_tabs(window: Any, with_average: Served) -> None:
    opened = window(with_average)
    first = with_average.site.project("averaged").averages()[0][1].id
    page = opened.go(f"/p/averaged/average/{first}")
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    said = page.inner_text("#classes").split()
    assert said == ["classes", "class_1", "75", "%", "class_2", "25", "%", "side", "by", "side"]
    opened.shot("average-classes")
    page.keyboard.press("v")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#beside slice-view')].every(view => view.state.level !== null)"
    )
    assert page.locator("#beside figcaption").all_inner_texts() == [
        "class_1\n75 %, 900 particles",
        "class_2\n25 %, 300 particles",
    ]
    assert page.locator("#xz").is_hidden()
    opened.shot("average-classes")
    page.keyboard.press("ArrowUp")  # the same section of both
    shown = (
        "() => [...document.querySelectorAll('#beside slice-view')].map(view => [view.index, ...view.window])"
    )
    first_view, second_view = page.evaluate(shown)
    assert first_view == second_view
    assert first_view[0] == page.evaluate("() => document.querySelector('#xy').index") + 1
    page.keyboard.press("v")
    page.wait_for_selector("#xz", state="visible")
    page.keyboard.press("c")
    page.wait_for_function("() => document.querySelector('h1').textContent === 'class_2'")
    assert page.inner_text("#classes [aria-pressed=true]") == "class_2 25 %"


def test_why_no_resolution_is_given_is_shown(window: Any, with_average: Served) -> None:
    """The reason of the step that found the poses, for the particles and for averages of them."""
    opened = window(with_average)
    project = with_average.site.project("averaged")
    by_name = {average.name: item.id for _, item, average in project.averages()}
    page = opened.go(f"/p/averaged/average/{by_name['class_1']}")
    assert "no resolution is given" in page.inner_text("#facts")
    said = page.inner_text("#doubt")
    assert said.startswith("Classes are compared to 15.0 A; the step that found these poses gives no ")
    assert DOUBT in said
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    opened.shot("average-doubt")
    page = opened.go(f"/p/averaged/average/{by_name['apoferritin']}")
    assert page.locator("#doubt").is_hidden()
    page = opened.go(f"/p/averaged/average/{by_name['first_map']}")
    assert page.locator("#doubt").is_hidden()  # no reason is known
    divided = next(run for run, _ in project.particle_runs() if run.node == "classify")
    page = opened.go(f"/p/averaged/particles?run={divided.id}")
    page.wait_for_selector("#doubt:not([hidden])")
    assert page.inner_text("#doubt").startswith(
        "The step that found these poses gives no resolution: the halves agree to 12.1 A"
    )
    assert "Run refine with these particles" in page.inner_text("#doubt")
    opened.shot("particles-doubt")
    page.click("#sets tbody tr[aria-selected=false]")
    assert page.locator("#doubt").is_hidden()


def test_passes_of_every_start_are_lines(window: Any, with_average: Served) -> None:
    """A first map has no curve and no sections: what its starts went through takes the place of the curve."""
    opened = window(with_average)
    made = [one for one in with_average.site.project("averaged").averages() if one[1].name == "first_map"]
    page = opened.go(f"/p/averaged/average/{made[0][1].id}")
    page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
    assert page.locator("#fsc").count() == 0
    assert page.inner_text("#passes").split() == ["start", "1", "2", "passes", "1", "2", "3", "final"]
    assert page.locator("#iterations select option").all_inner_texts() == [
        "log likelihood",
        "band angstrom",
        "exponent",
    ]
    page.locator("#iterations circle").nth(1).click()  # of the first start
    assert page.inner_text("#iteration-says") == (
        "Start 1, pass 2: band angstrom 30, exponent 0.5, log likelihood -20"
    )
    opened.shot("average-starts")
    page.keyboard.press(".")
    assert page.inner_text("#passes [data-pass][aria-pressed=true]") == "3"
    page.click("#passes [data-start='1']")
    assert page.inner_text("#passes [data-pass][aria-pressed=true]") == "final"
    page.select_option("#iterations select", "exponent")
    assert page.inner_text("#iterations h3") == "exponent of every pass, a line a start"
    assert page.inner_text("#records summary") == "axes (2)"
    page.click("#records summary")
    assert page.inner_text("#records tbody tr >> nth=1").split() == ["0.71", "4"]


def test_the_surface_that_is_shown_goes_into_other_programs(with_average: Served, tmp_path: Path) -> None:
    """A hollow ball about the centre, its outer radius where the shell's density falls below the level."""
    item = with_average.site.project("averaged").averages()[-1][1].id
    headers = {"authorization": f"token {with_average.access.owner_token}"}
    with httpx.Client(
        base_url=f"{with_average.origin}/p/averaged/average/{item}/map", headers=headers
    ) as http:
        low, high = map(float, http.get("volume.u8").headers["x-range"].split(","))
        glb = http.get("surface.glb", params={"level": 128})
        assert glb.headers["content-type"] == "model/gltf-binary"
        n_text = int.from_bytes(glb.content[12:16], "little")
        accessor = json.loads(glb.content[20 : 20 + n_text])["accessors"][0]
        binary = glb.content[28 + n_text :]
        vertices = np.frombuffer(binary, "<f4", 3 * accessor["count"]).reshape(-1, 3)
        value = low + (high - low) * 128 / 255
        outer = 5.0 * (14 + np.sqrt(-8 * np.log(value)))
        assert np.linalg.norm(vertices, axis=1).max() == pytest.approx(outer, abs=2.0)
        assert np.abs(vertices.mean(axis=0)).max() < 1.0
        commands = http.get("surface.cxc", params={"level": 128}).text.splitlines()
        assert commands[0].endswith('map.mrc"')
        assert float(commands[1].split("level ")[1].split()[0]) == pytest.approx(value, rel=1e-4)
        nothing = http.get("surface.glb", params={"level": 0})
        assert nothing.status_code == 422
