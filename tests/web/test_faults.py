"""What breaks beside the server costs one sentence in place; the rest works, and no decision is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from cryoloom.store.decisions import Author, Change, Decisions, in_force
from cryoloom.store.names import FILE_NAME
from cryoloom.web.access import Access
from cryoloom.web.app import make_app
from cryoloom.web.events import MOST_STREAMS
from cryoloom.web.job import jobs_of
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.serve import ServeOptions, listen
from cryoloom.web.site import Site, open_projects
from makers.browser import Served, client, eventually, serving
from makers.crashes import FAKE_PROGRAM, descendants, kill, recorded, start
from makers.old_projects import project_of_version_3
from makers.web_project import MadeProject

P = "/p/HIV-session"


@pytest.mark.parametrize("fault", ["gone", "cut off", "no image"])
def test_a_volume_that_cannot_be_read_leaves_the_rest_of_the_page(
    made: MadeProject, tmp_path: Path, fault: str
) -> None:
    folder = tmp_path / "HIV session"
    shutil.copytree(made.folder, folder)
    volume = next(folder.glob("**/item0/tomogram.mrc"))
    if fault == "gone":
        volume.unlink()
    elif fault == "cut off":
        os.truncate(volume, 5000)
    else:
        volume.write_bytes(b"\0" * 4096)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site(open_projects([folder], shelf), shelf)
    with serving(site) as served:
        headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
        with httpx.Client(base_url=served.origin, headers=headers) as http:
            facts = http.get(f"{P}/tomo/TS_01/facts.json").json()
            answer = http.get(f"{facts['variants'][0]['base']}/info.json")
            assert answer.status_code == 422
            sentence = answer.json()["error"]
            assert "tomogram.mrc" in sentence
            assert "\n" not in sentence
            for page in ("", "/series", "/series/TS_01", "/tomo/TS_01", "/tomo/TS_02", "/live"):
                assert http.get(P + page).status_code == 200
            keep = {"kind": "series", "item": "TS_01", "value": {"keep": False}}
            assert http.post(f"{P}/decide", json={"changes": [keep]}).status_code == 200
    site.close()


def test_older_projects_are_served_and_a_broken_one_is_one_sentence(tmp_path: Path) -> None:
    older = project_of_version_3(tmp_path / "older")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / FILE_NAME).write_bytes(b"this is not a database" * 100)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site(open_projects([broken, older], shelf), shelf)
    with serving(site) as served:
        headers = {"authorization": f"token {served.access.owner_token}"}
        with httpx.Client(base_url=served.origin, headers=headers) as http:
            assert http.get("/").status_code == 200
            assert len(http.get("/p/older/series.json").json()["rows"]) == 3
            answer = http.get("/p/broken/series.json")
            assert answer.status_code == 404
            assert "cannot be read as a project database" in answer.json()["error"]
            page = http.get("/p/broken", headers={"accept": "text/html"})
            assert page.status_code == 404
            assert "cannot be read as a project database" in page.text
    site.close()


def test_a_decision_that_was_answered_survives_a_killed_process(made: MadeProject, tmp_path: Path) -> None:
    """Killed right after the answer, the way a server is by a full machine."""
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from cryoloom.store.decisions import Author, Change, Decisions\n"
        "change = Change('tilt', 'TS_01', '3', {'keep': False})\n"
        "Decisions(Path(sys.argv[1])).decide([change], Author('anna'), 'ice')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    found = in_force(Decisions(folder).all(), kind="tilt")
    assert [(one.item, one.target, one.why) for one in found] == [("TS_01", "3", "ice")]
    Decisions(folder).decide(
        [Change("tilt", "TS_01", "4", {"keep": False})], Author("anna")
    )  # no lock is left


@contextlib.contextmanager
def serving_at(port: int | None, site: Site, access: Access) -> Iterator[int]:
    """A server at a port that is known, ended as by a cut tunnel: streams are not closed first."""
    listening, taken = listen(ServeOptions(port=port or 0))
    config = uvicorn.Config(make_app(site, access), log_level="error", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield taken or 0
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listening.close()


@pytest.fixture
def own_site(made: MadeProject, tmp_path: Path) -> Iterator[Site]:
    """Pages of a copy of the project, for a test that decides or stops their server."""
    folder = tmp_path / "HIV session"
    shutil.copytree(made.folder, folder)
    shelf = ImageShelf(tmp_path / "levels")
    opened = Site(open_projects([folder], shelf), shelf)
    yield opened
    opened.close()


def test_a_page_resumes_where_it_was_when_the_server_comes_back(browser: Any, own_site: Site) -> None:
    """The same address, tilt and window; what was decided meanwhile is there within 30 s."""
    access = Access(cookie_name="cryoloom_again")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(30_000)
    with serving_at(None, own_site, access) as port:
        page.goto(f"http://127.0.0.1:{port}/?token={access.owner_token}")
        page.goto(f"http://127.0.0.1:{port}{P}/series/TS_01?tilt=3")
        page.wait_for_selector("#lamp[data-state=up]")
        page.wait_for_function("() => document.querySelector('slice-view').state?.level !== null")
    page.wait_for_selector("#lamp[data-state=down]")
    at = page.evaluate("() => [location.href, document.querySelector('slice-view').index]")
    Decisions(own_site.project("HIV-session").folder).decide(
        [Change("tilt", "TS_01", "5", {"keep": False})], Author("anna"), "ice"
    )
    began = time.monotonic()
    with serving_at(port, own_site, access):
        page.wait_for_selector("#lamp[data-state=up]")
        page.wait_for_function(
            "() => document.querySelector('#tilts tr[data-acquisition=\"5\"]').innerText.includes('ice')"
        )
        assert time.monotonic() - began < 30
        assert page.evaluate("() => [location.href, document.querySelector('slice-view').index]") == at
        context.close()


def test_a_pick_that_the_server_did_not_get_is_taken_back(browser: Any, own_site: Site) -> None:
    access = Access(cookie_name="cryoloom_gone")
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(30_000)
    with serving_at(None, own_site, access) as port:
        page.goto(f"http://127.0.0.1:{port}/?token={access.owner_token}")
        page.goto(f"http://127.0.0.1:{port}{P}/tomo/TS_01")
        page.wait_for_function("() => document.querySelector('#xy').state?.level !== null")
        page.wait_for_selector("body[data-ready]")
    page.keyboard.press("p")
    page.mouse.click(400, 300)
    page.wait_for_function("() => document.querySelector('#messages').innerText.startsWith('Not kept: ')")
    assert "The server does not answer. The page goes on by itself" in page.inner_text("#messages")
    assert "No picks yet" in page.inner_text("#picks")
    page.wait_for_function("() => document.querySelector('#line-says').textContent.includes('trying again')")
    page.context.close()


def test_a_server_that_is_stopped_ends_the_streams_of_its_pages(
    made: MadeProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without waiting for them, and without a traceback on the terminal."""
    shelf = ImageShelf(tmp_path / "levels")
    site = Site(open_projects([made.folder], shelf), shelf)
    heard: list[str] = []  # the stream begins with a word of its own
    with serving(site) as served:
        stream = threading.Thread(target=listen_to_events, args=(served, heard))
        stream.start()
        eventually(lambda: heard)
        began = time.monotonic()
    stream.join(5)
    assert time.monotonic() - began < 0.9  # of the second that a server waits at most in tests
    assert not caplog.records
    site.close()


def listen_to_events(served: Served, heard: list[str]) -> None:
    with client(served) as http, http.stream("GET", f"{P}/events") as answer:
        for line in answer.iter_lines():
            heard.append(line)


def test_a_disk_that_vanishes_is_one_sentence_and_comes_back(made: MadeProject, tmp_path: Path) -> None:
    folder, away = tmp_path / "HIV session", tmp_path / "away"
    shutil.copytree(made.folder, folder)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site(open_projects([folder], shelf), shelf)
    with serving(site) as served:
        headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
        with httpx.Client(base_url=served.origin, headers=headers, timeout=30) as http:
            image = http.get(f"{P}/tomo/TS_01/facts.json").json()["variants"][0]["base"]
            folder.rename(away)
            keep = {"kind": "series", "item": "TS_01", "value": {"keep": False}}
            for answer in (
                http.get(f"{image}/info.json"),
                http.post(f"{P}/decide", json={"changes": [keep]}),
                http.get(f"{P}/series", headers={"accept": "text/html"}),
            ):
                assert answer.status_code < 500 or answer.status_code == 503
                assert "Traceback" not in answer.text
            sentence = http.post(f"{P}/decide", json={"changes": [keep]}).json()["error"]
            assert len(sentence) < 300
            away.rename(folder)
            assert http.get(f"{image}/info.json").status_code == 200
            assert http.post(f"{P}/decide", json={"changes": [keep]}).status_code == 200
    site.close()


def test_a_run_goes_on_when_its_server_is_killed(made: MadeProject, tmp_path: Path) -> None:
    """The process that started it dies at once, as a killed server does; the command ends well by itself."""
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    code = (
        "import os, signal, sys; from pathlib import Path; from cryoloom.web.job import start_job\n"
        "start_job(Path(sys.argv[1]), 'log', ['log', '--project', '.'], 'anna')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (job,) = eventually(lambda: jobs_of(folder), lambda jobs: jobs[0].returncode is not None)
    assert job.state == "done"
    assert "align_frames" in (folder / "logs" / "web" / "0001.log").read_text()


@pytest.mark.parametrize("executor", ["threads", pytest.param("local", marks=pytest.mark.slow)])
def test_no_decision_is_lost_with_its_coordinator_or_workers(tmp_path: Path, executor: str) -> None:
    """Somebody decides again and again while workers, then the coordinator, are killed and started again."""
    folder, tally = tmp_path / "decided", tmp_path / "tally"
    tally.mkdir()
    steps = [
        {"step": "find_series", "parameters": {"n_series": 6}},
        {"step": "draw", "parameters": {"seconds": 0.2, "tally": str(tally)}},
        {"step": "smooth"},
    ]
    plan = json.dumps({"name": "fake", "steps": steps})
    answered: list[tuple[str, int, bool]] = []
    coordinator = start(FAKE_PROGRAM, folder, executor, plan)
    with contextlib.ExitStack() as cleared:
        cleared.callback(lambda: (kill(descendants(coordinator)), coordinator.kill(), coordinator.wait()))
        eventually(lambda: recorded(folder))
        site = Site(open_projects([folder], ImageShelf(tmp_path / "levels")), ImageShelf(tmp_path / "levels"))
        cleared.callback(site.close)
        http = cleared.enter_context(client(cleared.enter_context(serving(site))))
        eventually(lambda: http.get("/p/decided/series.json").json()["rows"], lambda rows: len(rows) == 6)

        def decide() -> None:
            series, keep = f"TS_0{1 + len(answered) % 6}", len(answered) % 3 == 0
            change = {"kind": "tilt", "item": series, "target": len(answered) % 3, "value": {"keep": keep}}
            answer = http.post("/p/decided/decide", json={"changes": [change]})
            assert answer.status_code == 200, answer.text
            answered.append((series, len(answered) % 3, keep))

        for n_killed in range(3):
            for _ in range(4):
                decide()
            kill(descendants(coordinator) if n_killed == 0 and executor == "local" else [])
            decide()
            coordinator.kill()
            coordinator.wait()
            decide()
            coordinator = start(FAKE_PROGRAM, folder, executor, plan)
        decide()
    events = Decisions(folder).all()
    assert [(one.item, int(one.target), one.value["keep"]) for one in events] == answered


def test_no_more_than_so_many_pages_listen(site: Site) -> None:
    """The next one shows this in place and reads as before."""
    with serving(site) as served, contextlib.ExitStack() as opened:
        headers = {"authorization": f"token {served.access.owner_token}"}
        limits = httpx.Limits(max_connections=None)
        http = opened.enter_context(
            httpx.Client(base_url=served.origin, headers=headers, limits=limits, timeout=60)
        )
        lines: list[Iterator[bytes]] = []
        for _ in range(MOST_STREAMS):
            stream = opened.enter_context(http.stream("GET", f"{P}/events"))
            assert stream.status_code == 200
            lines.append(stream.iter_raw())  # it is closed when nobody holds it
            next(lines[-1])
        refused = http.get(f"{P}/events")
        assert refused.status_code == 503
        assert "64 pages are open already" in refused.json()["error"]
        assert http.get(f"{P}/series.json").status_code == 200


def test_an_upload_that_is_too_large_is_refused(site: Site) -> None:
    with serving(site) as served:
        headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
        answer = httpx.post(
            f"{served.origin}/workflows/translate",
            json={"text": "x" * 10_000_001},
            headers=headers,
            timeout=60,
        )
        assert answer.status_code == 422
        assert len(answer.text) < 500


def test_a_hostile_comment_is_text(window: Any, served: Served) -> None:
    """A note from the command line or another user, on a page that shows it."""
    hostile = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
    project = served.site.project("HIV-session")
    project.decide(
        [Change("comment", "TS_01", "", hostile), Change("comment", "run:5", "", hostile)], Author("eve"), ""
    )
    page = window(served).go(f"{P}/series")
    page.wait_for_function(
        "text => document.querySelector('data-table').innerText.includes(text)", arg=hostile[:20]
    )
    assert page.locator("main img").count() == 0
    page = window(served).go(f"{P}/run/5")
    assert page.input_value("#comment") == hostile
    page = window(served).go(f"{P}?view=list")
    assert page.locator("main img").count() == 0
    assert page.title() != "owned"
