"""Run graph, table of series and review: view models, and what a user does in a real Chromium."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import pytest

from cryoloom.store.decisions import in_force
from cryoloom.web.judged_series import JudgedSeries
from cryoloom.web.pages.review import review_facts
from cryoloom.web.review_index import ReviewIndex
from makers.browser import Served, eventually
from makers.web_project import BAD_CTF, DARK, HOSTILE, MISPLACED, NAMES, SHIFTED, MadeProject

P = "/p/HIV-session"


def test_the_server_does_not_wait_for_torch() -> None:
    code = "import sys, cryoloom.web.serve; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_graph_opens_runs_by_keyboard_and_shows_views(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(P)
    assert page.locator(".card").count() == 6
    assert "5/5" in page.inner_text(".card[data-run='1']")
    assert "no tilt within 10 deg" in page.inner_text(".problem")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.activeElement.dataset.run") in {"1", "2"}
    opened.shot("graph")
    for view, locator in (("list", "#cards table tbody tr"), ("time", ".gantt a")):
        page.click(f"a[href='?view={view}']")
        assert page.locator(locator).count() == 6
        opened.shot(f"graph-{view}")


def test_a_run_has_a_menu_by_mouse_and_by_keys(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(P)
    page.click(".card[data-run='2']", button="right")
    entries = page.eval_on_selector_all("#run-menu [role=menuitem]", "all => all.map(one => one.innerText)")
    assert entries == [
        "open", "how it was made", "cite", "log", "next step on its results", "copy and edit", "delete…",
    ]  # fmt: skip
    opened.shot("graph-menu")
    page.click("#run-menu button")
    page.wait_for_selector("#sure[open]")
    assert page.inner_text("#sure-text") == "Runs 3 need run 2; delete them first."
    assert page.is_hidden("#sure-yes")
    page.click("#sure-no")
    page.focus(".card[data-run='6']")
    page.keyboard.press("m")
    page.keyboard.press("ArrowUp")  # from the first to the last
    page.keyboard.press("Enter")
    page.wait_for_selector("#sure[open]")
    said = page.inner_text("#sure-text")
    assert said.startswith("Delete run 6 reconstruct with the files of its 4 items (")
    assert said.endswith("MB)? This cannot be undone.")
    page.click("#sure-no")
    page.click(".card[data-run='4']", button="right")
    page.click("#run-menu >> text=how it was made")
    page.wait_for_selector("#provenance >> text=version of the step")
    assert page.is_visible("#provenance")


def test_a_run_of_another_process_changes_its_card(window: Any, served: Served, made: MadeProject) -> None:
    page = window(served).go(P)
    page.wait_for_function("() => document.querySelector('#lamp').dataset.state === 'up'")
    code = (
        "import sys; from pathlib import Path; from cryoloom.store.database import Database\n"
        "d = Database.open(Path(sys.argv[1])); d.begin_run('bin_series', 'bin_series', 1, {}, 2, {})"
    )
    subprocess.run([sys.executable, "-c", code, str(made.folder)], check=True)
    page.wait_for_selector(".card[data-run='7']")
    assert "is-running" in str(page.get_attribute(".card[data-run='7']", "class"))


def test_many_pages_of_one_browser_stay_live(window: Any, served: Served) -> None:
    """A browser has six connections to a server: with a stream for every page the seventh would hang."""
    opened = window(served)
    pages = [opened.page, *(opened.context.new_page() for _ in range(7))]
    is_up = "() => document.querySelector('#lamp')?.dataset.state === 'up'"
    for page in pages:
        page.goto(f"{served.origin}{P}/live")
        page.wait_for_function(is_up)
        page.evaluate("() => document.addEventListener('changed', () => (window.heard = true))")
    assert served.site.watcher(served.site.project("HIV-session")).n_listeners <= 2  # one may be ending
    pages[0].close()  # the one with the stream: another takes it
    headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
    change = {"kind": "comment", "item": "TS_01", "value": "seen by all"}
    pages[1].wait_for_timeout(200)
    httpx.post(f"{served.origin}{P}/decide", json={"changes": [change]}, headers=headers).raise_for_status()
    for page in pages[1:]:
        page.wait_for_function("() => window.heard === true")


def test_the_table_filters_sorts_and_keeps_its_address(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(f"{P}/series")
    names = "[...document.querySelectorAll('data-table .line')].map(line => line.dataset.name)"
    page.wait_for_function(f"() => {names}.length === 5")
    page.wait_for_function("() => document.querySelector('#review').textContent.includes('4')")
    opened.shot("series-table")
    page.fill("#filter", "flagged>0")
    assert set(page.evaluate(f"() => {names}")) == {"TS_02", "TS_03", "TS_04"}
    page.click("data-table .head button[data-key=open]")
    page.click("data-table .head button[data-key=open]")
    assert page.evaluate(f"() => {names}")[0] == "TS_03"
    opened.reload()
    page.wait_for_function(f"() => {names}.length === 3")
    assert page.input_value("#filter") == "flagged>0"
    assert page.evaluate(f"() => {names}")[0] == "TS_03"
    page.fill("#filter", "img src")
    assert page.evaluate(f"() => {names}") == [HOSTILE]
    assert page.locator("main img[onerror]").count() == 0


def test_a_series_is_left_out_from_the_table(window: Any, served: Served) -> None:
    page = window(served).go(f"{P}/series")
    page.click("data-table .line[data-name=TS_01]")
    page.keyboard.press("X")
    page.wait_for_function(
        "() => document.querySelector('data-table .line[data-name=TS_01] .sign').textContent === 'excluded'"
    )
    project = served.site.project("HIV-session")
    decided = eventually(lambda: in_force(project.decisions(), kind="series"))
    assert [(one.item, one.value) for one in decided] == [("TS_01", {"keep": False})]
    page.keyboard.press("z")
    page.wait_for_function(
        "() => document.querySelector('data-table .line[data-name=TS_01] .sign').textContent === 'done'"
    )


def test_an_answer_that_comes_late_takes_no_decision_back(window: Any, served: Served) -> None:
    """Facts read before a decision and delivered after it: what was decided stays on the screen."""
    page = window(served).go(f"{P}/review")
    n_open = "() => Number(document.querySelector('#facts').textContent.split(' ')[0])"
    before = page.evaluate(n_open)
    held: list[tuple[Any, Any]] = []

    def hold_the_first(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    page.route("**/review.json", hold_the_first)
    with page.expect_request("**/review.json"):
        page.evaluate("() => void document.dispatchEvent(new CustomEvent('changed', { detail: {} }))")
    while not held:
        page.wait_for_timeout(20)
    page.keyboard.press("x")
    project = served.site.project("HIV-session")
    eventually(lambda: in_force(project.decisions(), kind="tilt"))
    page.evaluate(
        """() => {
            window.shown = [];
            const says = document.querySelector('#facts');
            const look = () => window.shown.push(Number(says.textContent.split(' ')[0]));
            new MutationObserver(look).observe(says, { childList: true });
        }"""
    )
    route, answer = held[0]
    route.fulfill(response=answer)
    page.wait_for_function("() => window.shown.length >= 2")  # the late answer, and one that followed
    assert set(page.evaluate("window.shown")) == {before - 1}
    page.keyboard.press("z")
    page.wait_for_function(f"before => ({n_open})() === before", arg=before)


def test_review_takes_one_key_a_tilt(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(f"{P}/review")
    page.wait_for_function("() => document.querySelector('slice-view')?.state.level !== null")
    first, second, *_ = review_facts(
        served.site.project("HIV-session"), served.site.review(served.site.project("HIV-session"))
    )["tilts"]
    for tilt, key in ((first, "x"), (second, "x"), (None, "c"), (None, "c")):
        what = page.inner_text("#what")
        if tilt is not None:
            assert (
                what == f"{tilt['series']}, tilt {tilt['tilt_deg']:.1f}°, "
                f"acquisition index {tilt['acquisition_index']}"
            )
        if tilt is first:
            opened.shot("review")
        page.keyboard.press(key)
    page.wait_for_function("() => document.querySelector('#facts').textContent.startsWith('0 of 4')")
    project = served.site.project("HIV-session")
    decisions = eventually(lambda: in_force(project.decisions(), kind="tilt"), lambda found: len(found) == 4)
    decided = {(one.item, int(one.target)): one.value["keep"] for one in decisions}
    assert decided[DARK] is False
    assert decided[SHIFTED] is False
    assert decided[BAD_CTF] is True
    assert decided[MISPLACED[0], MISPLACED[2]] is True


def test_the_gallery_shows_pictures_the_worst_first(window: Any, served: Served) -> None:
    """The failed series comes first, then those with flagged tilts; pictures have pixels."""
    opened = window(served)
    page = opened.go(f"{P}/series")
    page.wait_for_function("() => document.querySelector('data-table').rows.length === 5")
    page.keyboard.press("v")
    page.wait_for_function("() => document.querySelectorAll('#gallery img').length === 5")
    names = page.eval_on_selector_all("#gallery a", "all => all.map(one => one.dataset.name)")
    assert names[0] == HOSTILE
    assert set(names) == set(NAMES)
    page.wait_for_function("() => [...document.images].every(one => one.complete && one.naturalWidth > 60)")
    opened.shot("series-gallery")
    opened.reload()
    page.wait_for_selector("#gallery img")
    page.fill("#filter", "TS_02")
    page.wait_for_function("() => document.querySelectorAll('#gallery a').length === 1")
    page.keyboard.press("Escape")


def test_runs_have_a_gallery_too(window: Any, served: Served) -> None:
    page = window(served).go(f"{P}?view=gallery")
    assert page.locator(".run-card").count() >= 6
    page.wait_for_function(
        "() => [...document.images].length >= 5 && [...document.images].every(one => one.naturalWidth > 60)"
    )
    names = page.eval_on_selector_all(".run-card", "all => all.map(one => one.querySelector('b').innerText)")
    assert names[-1] == "1 import_movies"
    assert "6 reconstruct" in names


@pytest.mark.parametrize("where", ["ctf", "review"])
def test_a_project_that_is_still_being_read_says_so(
    window: Any, served: Served, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Thousands of series take a minute: no page may say that nothing is there before they are read."""
    real, is_read = ReviewIndex.complete, []

    def late(self: ReviewIndex, timeout_s: float = 60.0) -> dict[str, JudgedSeries]:
        return real(self, timeout_s) if is_read else {}

    monkeypatch.setattr(ReviewIndex, "complete", late)
    page = window(served).go(f"{P}/{where}")
    texts = {
        "ctf": "0 series, 0 with doubtful fits; 5 are still being read",
        "review": "0 of 5 series are read; none of their tilts is doubted yet.",
    }
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=texts[where])
    is_read.append(True)
    page.wait_for_selector({"ctf": "#grid button", "review": "#strip img"}[where])
    page.wait_for_function("() => !document.body.innerText.includes('are still being read')")


def test_cards_of_a_long_gallery_keep_their_height(window: Any, served: Served) -> None:
    page = window(served).go(f"{P}/series?view=gallery")
    page.wait_for_selector(".series-card")
    heights = page.evaluate(
        """() => {
            const gallery = document.querySelector('.gallery');
            const card = gallery.querySelector('.series-card');
            for (let i = 0; i < 300; i++) gallery.append(card.cloneNode(true));
            return [...gallery.children].slice(0, 5).map(one => one.offsetHeight);
        }"""
    )
    assert min(heights) > 150
