"""The series page: flags and decisions, in view models, over HTTP and in a real Chromium."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from cryoloom.store.decisions import in_force
from makers.browser import Served, eventually, wait_until_ready
from makers.web_project import DARK, HOSTILE, MadeProject

P = "/p/HIV-session"


def client(served: Served, token: str | None = None) -> httpx.Client:
    headers = {"authorization": f"token {token or served.access.owner_token}", "x-cryoloom": "1"}
    return httpx.Client(base_url=served.origin, headers=headers)


def tilt_change(series: str, index: int, keep: bool) -> dict[str, Any]:
    return {"kind": "tilt", "item": series, "target": index, "value": {"keep": keep}}


def test_a_decision_is_an_event_with_author_page_and_reason(made: MadeProject, served: Served) -> None:
    with client(served) as http:
        sent = {"changes": [tilt_change("TS_01", 3, False)], "why": "ice", "page": "series"}
        answer = http.post(f"{P}/decide", json=sent)
        assert answer.status_code == 200, answer.text
        rows = http.get(f"{P}/series/TS_01/facts.json").json()["rows"]
        row = next(row for row in rows if row["acquisition_index"] == 3)
        assert (row["excluded"], row["by_user"], row["reason"]) == (True, True, "ice")
        undone = http.post(f"{P}/undo")
        assert undone.json()["text"] == "left out tilt 3 of TS_01: ice"
        rows = http.get(f"{P}/series/TS_01/facts.json").json()["rows"]
        assert not any(row["excluded"] for row in rows)
        assert http.post(f"{P}/redo").status_code == 200
        assert http.post(f"{P}/redo").status_code == 422
        http.post(f"{P}/undo")
    events = served.site.project("HIV-session").decisions()
    assert events[0].page == "web: series"
    assert events[0].role == "owner"
    assert not in_force(events, kind="tilt", item="TS_01")
    assert len(events) == 4  # nothing is ever taken away


@pytest.mark.parametrize(
    "change",
    [
        tilt_change("TS_01", 99, False),
        tilt_change("no such series", 1, False),
        {"kind": "tilt", "item": "TS_01", "target": -1, "value": {"keep": False}},
        {"kind": "tilt", "item": "TS_01", "target": 1, "value": {"keep": "perhaps"}},
        {"kind": "shell", "item": "TS_01", "value": "rm -rf"},
        {"kind": "slab", "item": "TS_01", "value": {"thickness_angstrom": -5, "z_offset_angstrom": 0}},
    ],
)
def test_what_cannot_be_decided_is_refused_with_a_sentence(served: Served, change: dict[str, Any]) -> None:
    before = served.site.project("HIV-session").decisions()
    with client(served) as http:
        answer = http.post(f"{P}/decide", json={"changes": [change], "why": "", "page": "series"})
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert served.site.project("HIV-session").decisions() == before


def test_a_viewer_cannot_decide(served: Served) -> None:
    with client(served, served.access.viewer_token) as http:
        sent = {"changes": [tilt_change("TS_01", 3, False)], "why": "", "page": ""}
        assert http.post(f"{P}/decide", json=sent).status_code == 403
        assert http.get(f"{P}/series/TS_01").status_code == 200


def shown(page: Any) -> None:
    page.wait_for_function(
        "() => { const s = document.querySelector('slice-view')?.state; "
        "return s && s.shownIndex === s.index && s.level !== null }"
    )


def state_of(page: Any, index: int) -> str:
    return str(page.inner_text(f"#tilts tr[data-acquisition='{index}'] td:last-child"))


def wait_for_state(page: Any, index: int, word: str) -> None:
    page.wait_for_function(
        """([index, word]) =>
            document.querySelector(`#tilts tr[data-acquisition='${index}'] td:last-child`)
                .innerText.startsWith(word)""",
        arg=[index, word],
    )


def test_leaving_out_keeping_and_undo_agree_everywhere(window: Any, served: Served) -> None:
    name, dark = DARK
    first = window(served)
    page = first.go(f"{P}/series/{name}?tilt=2")
    shown(page)
    second = window(served).go(f"{P}/series/{name}")
    shown(second)
    assert "dark: 5 %" in state_of(page, dark)
    page.keyboard.press("x")
    assert state_of(page, 2) == "other"  # at once, before the server has answered
    page.keyboard.press("4")
    wait_for_state(page, 2, "ice")
    wait_for_state(second, 2, "ice")
    project = served.site.project("HIV-session")
    decided = eventually(
        lambda: in_force(project.decisions(), kind="tilt", item=name),
        lambda found: bool(found and found[0].why),
    )
    assert [(d.target, d.value, d.why) for d in decided] == [("2", {"keep": False}, "ice or contamination")]
    at_dark = page.locator(f"#tilts tr[data-acquisition='{dark}']")
    at_dark.click()
    page.keyboard.press("c")
    assert "kept" in state_of(page, dark)
    page.wait_for_function("() => document.querySelector('#history').textContent.includes('kept tilt 9')")
    page.keyboard.press("z")
    wait_for_state(page, dark, "dark")
    first.shot("series")


def test_a_reload_keeps_series_and_tilt(window: Any, served: Served) -> None:
    page = window(served).go(f"{P}/series/TS_01")
    shown(page)
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelector('#title').textContent === 'TS_02'")
    page.keyboard.press("[")
    page.wait_for_function("() => document.querySelector('#title').textContent === 'TS_01'")
    page.goto(page.url.split("?")[0] + "?tilt=5")
    wait_until_ready(page)
    shown(page)
    selected = "() => document.querySelector('#tilts tr[aria-selected=true]').dataset.acquisition"
    assert page.evaluate(selected) == "5"
    page.reload()
    wait_until_ready(page)
    shown(page)
    assert page.evaluate(selected) == "5"


def test_thirty_keys_a_second_end_on_the_right_tilt(window: Any, served: Served) -> None:
    page = window(served).go(f"{P}/series/TS_01")
    shown(page)
    page.keyboard.press("Home")
    for _ in range(12):
        page.keyboard.press("ArrowUp")
        page.wait_for_timeout(33)
    shown(page)
    row = page.inner_text("#tilts tr[aria-selected=true] td:nth-child(2)")
    assert 53 < float(row) < 55
    assert page.evaluate("() => document.querySelector('slice-view').state.index") == 12


def test_a_guide_line_is_dragged_and_stays_in_the_address(window: Any, served: Served) -> None:
    page = window(served).go(f"{P}/series/TS_01?aligned=1&guides=0.5")
    page.wait_for_function("() => document.querySelector('slice-view').state.level !== null")
    box = page.locator("slice-view").bounding_box()
    x, middle = box["x"] + 40, box["y"] + box["height"] / 2
    zoom = page.evaluate("document.querySelector('slice-view').zoom")
    height = page.evaluate("document.querySelector('slice-view').planeSize()[1]")
    page.mouse.move(x, middle)
    page.mouse.down()
    page.mouse.move(x, middle - 30, steps=3)
    page.mouse.up()
    page.wait_for_function("() => new URLSearchParams(location.search).get('guides') !== '0.5'")
    part = float(page.evaluate("new URLSearchParams(location.search).get('guides')"))
    assert part == pytest.approx(0.5 + 30 / zoom / height, abs=2 / zoom / height)
    assert page.evaluate("document.querySelector('slice-view').centre[1]") == height / 2  # not panned


def test_an_aligned_bead_stays_on_its_row(window: Any, served: Served, made: MadeProject) -> None:
    """The picture is turned and moved by the pose: a bead keeps its height along the axis."""
    page = window(served).go(f"{P}/series/TS_01?aligned=1")
    shown(page)
    truth = made.truths["TS_01"]
    bead = truth.beads_xyz_angstrom[0]
    heights = []
    for section in (3, 6, 9):
        page.evaluate(f"() => document.querySelector('slice-view').go({section})")
        shown(page)
        # where the picture's own transform puts the bead, from the pixel of it in the raw image
        place = page.evaluate("i => document.querySelector('slice-view').placement(i)", section)
        series = served.site.project("HIV-session").series("TS_01").series
        assert series is not None
        tilt = next(t for t in series.tilts if t.section == section)
        assert tilt.pose is not None
        x, y = tilt.pose.matrix[:2] @ bead + tilt.pose.shift_xy_angstrom
        spot = page.evaluate(
            """([u, v]) => {
                const view = document.querySelector('slice-view');
                return view.placed(view.index, u, v);
            }""",
            [80.5 + x / 16.0, 60.5 + y / 16.0],
        )
        heights.append(spot[1])
        assert place["axis_deg"] == pytest.approx(tilt.pose.axis_deg)
    assert max(heights) - min(heights) < 0.05
    assert heights[0] == pytest.approx(60.5 + bead[1] / 16.0, abs=0.05)


def test_a_hostile_name_is_text(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(f"{P}/series/{quote(HOSTILE, safe='')}")
    shown(page)
    assert page.inner_text("#title") == HOSTILE
    assert page.locator("main img[onerror]").count() == 0
    assert "no tilt within 10 deg" in page.inner_text("#failure")
    page.keyboard.press("?")
    opened.shot("series-failed")


def test_a_viewer_sees_no_way_to_decide(window: Any, served: Served) -> None:
    page = window(served, served.access.viewer_token).go(f"{P}/series/TS_01")
    shown(page)
    before = len(served.site.project("HIV-session").decisions())
    assert page.locator("#exclude").is_disabled()
    assert page.locator("#undo").count() == 0
    page.keyboard.press("x")
    page.wait_for_timeout(100)
    assert len(served.site.project("HIV-session").decisions()) == before
