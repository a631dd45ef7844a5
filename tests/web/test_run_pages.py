"""Forms made from declarations, commands, jobs that outlive the server, and paths."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from cryoloom.contract import all_steps
from cryoloom.errors import UserInputError
from cryoloom.web import step_child
from cryoloom.web.job import jobs_of, log_part, start_job
from cryoloom.web.roots import Roots
from cryoloom.web.run_request import RunRequest, command_of, defaults_of
from makers.browser import Served, wait_until_ready

P = "/p/HIV-session"


@pytest.fixture(scope="module")
def catalogue() -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in step_child.answer({"do": "catalogue"})["steps"]}


@pytest.mark.parametrize("name", sorted(all_steps()))
def test_every_step_has_a_form_whose_defaults_are_accepted(name: str, catalogue: dict[str, Any]) -> None:
    step = catalogue[name]
    properties = step["schema"].get("properties", {})
    assert set(properties) == set(all_steps()[name].params.model_fields)
    for field, schema in properties.items():
        assert schema["description"], field
    required = step["schema"].get("required", [])
    checked = step_child.answer({"do": "check", "step": name, "parameters": defaults_of(step)})
    assert set(checked["errors"]) <= {*required, ""}, checked


def test_a_wrong_value_gets_the_models_own_message() -> None:
    checked = step_child.answer({"do": "check", "step": "select_tilts", "parameters": {"dark_ratio": 2.0}})
    assert checked == {"errors": {"dark_ratio": "Input should be less than 1"}}
    assert "error" in step_child.answer({"do": "check", "step": "no_such_step", "parameters": {}})


def test_the_command_is_what_a_user_types(catalogue: dict[str, Any], tmp_path: Path) -> None:
    request = RunRequest(
        step="select_tilts",
        input="2",
        items=("-x", "TS_01"),
        parameters={"dark_ratio": 0.5, "exclude_tilts": [1]},
    )
    command = command_of(request, catalogue["select_tilts"], Roots((tmp_path,)))
    assert command == [
        *("run", "select_tilts", "--project", ".", "--input", "2", "--item=-x", "--item=TS_01"),
        *("--set", "dark_ratio=0.5", "--set", "exclude_tilts=[1]"),
    ]


def test_a_further_output_of_a_run_can_be_the_input(catalogue: dict[str, Any], tmp_path: Path) -> None:
    assert catalogue["refine"]["also_gives"] == {"particles": "Particles"}
    request = RunRequest(step="refine", input="9.particles")
    command = command_of(request, catalogue["refine"], Roots((tmp_path,)))
    assert command == ["run", "refine", "--project", ".", "--input", "9.particles"]
    with pytest.raises(ValueError, match="pattern"):
        RunRequest(step="refine", input="9.particles; true")


@pytest.mark.parametrize(
    "request_",
    [
        RunRequest(step="select_tilts"),
        RunRequest(step="select_tilts", input="2", parameters={"no_such": 1}),
        RunRequest(step="select_tilts", input="2", links={"poses_from": "1"}),
        RunRequest(step="import_movies", input="2"),
        RunRequest(step="import_movies", parameters={"directory": "/etc"}),
    ],
)
def test_what_no_command_can_be_made_of_is_refused(
    request_: RunRequest, catalogue: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserInputError):
        command_of(request_, catalogue[request_.step], Roots((tmp_path,)))


def test_paths_stay_below_the_roots(tmp_path: Path) -> None:
    (tmp_path / "raw" / "frames").mkdir(parents=True)
    (tmp_path / "raw" / ".hidden").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "raw" / "out").symlink_to(tmp_path / "other")
    (tmp_path / "raw" / "in").symlink_to(tmp_path / "raw" / "frames")
    roots = Roots((tmp_path / "raw",))
    assert roots.checked("frames") == tmp_path / "raw" / "frames"
    assert roots.checked(str(tmp_path / "raw" / "in")) == tmp_path / "raw" / "frames"
    for bad in (
        "../other",
        str(tmp_path / "other"),
        "/etc/passwd",
        "out",
        ".hidden",
        "fra\0mes",
        "",
        "nothing",
    ):
        with pytest.raises(UserInputError):
            roots.checked(bad)
    path, folders, n_files = roots.listed("")
    assert (path, [folder.name for folder in folders], n_files) == (tmp_path / "raw", ["frames"], 2)


def finished(project: Path, number: int) -> Any:
    for _ in range(600):
        job = next((one for one in jobs_of(project) if one.number == number), None)
        if job is not None and job.state not in {"running", "queued"}:
            return job
        time.sleep(0.1)
    raise TimeoutError(f"job {number} did not end")


def test_a_job_keeps_its_log_and_how_it_ended(tmp_path: Path) -> None:
    started = start_job(tmp_path, "status", ["status", "--project", "."], "me")
    job = finished(tmp_path, started.number)
    assert job.state == "failed"  # there is no project here
    text, following, size = log_part(tmp_path, job.number, 0)
    assert "is not a cryoloom project" in text
    assert following == size
    assert job.as_typed == "cryoloom status --project ."
    assert os.getsid(0) != job.pid
    with pytest.raises(UserInputError):
        log_part(tmp_path, 99, 0)


def test_a_job_waits_for_another_and_does_not_start_where_that_failed(tmp_path: Path) -> None:
    first = start_job(tmp_path, "status", ["status", "--project", "."], "me")
    second = start_job(tmp_path, "steps", ["steps"], "me", after=first.number)
    assert second.state == "queued"
    assert finished(tmp_path, first.number).state == "failed"
    assert finished(tmp_path, second.number).state == "failed"
    assert log_part(tmp_path, second.number, 0)[0] == "not started: number 1 did not end well\n"
    with pytest.raises(UserInputError, match="nothing of number 99"):
        start_job(tmp_path, "steps", ["steps"], "me", after=99)


def test_the_end_of_a_huge_log_is_there_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "web"
    folder.mkdir(parents=True)
    (folder / "0001.json").write_text("{}")
    with (folder / "0001.log").open("wb") as file:
        file.truncate(10_000_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"the last line\n")
    text, following, size = log_part(tmp_path, 1, -20)
    assert text.endswith("the last line\n")
    assert following == size


def test_a_run_is_started_from_the_form(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(f"{P}/new?step=exclude_tilts")
    page.set_default_timeout(60_000)  # a process that imports every step is started
    page.wait_for_selector(".field[data-name=tilts]")
    page.wait_for_function("() => !document.querySelector('#start').disabled")
    opened.shot("new-run")
    page.goto(f"{served.origin}{P}/new?step=select_tilts")
    wait_until_ready(page)
    page.wait_for_selector("#field-dark_ratio")
    page.fill("#field-dark_ratio", "2")
    page.wait_for_function(
        """() => document.querySelector('.field[data-name=dark_ratio] .wrong')
            .textContent.includes('less than 1')"""
    )
    assert page.locator("#start").is_disabled()
    page.fill("#field-dark_ratio", "0.55")
    page.wait_for_function("() => !document.querySelector('#start').disabled")
    assert "is-changed" in str(page.get_attribute(".field[data-name=dark_ratio]", "class"))
    assert "--set dark_ratio=0.55" in page.inner_text("#command")
    assert "to run" in page.inner_text("#preview")
    page.click(".field[data-name=dark_ratio] .reset")
    page.wait_for_function("() => !document.querySelector('#command').textContent.includes('dark_ratio')")


def test_the_page_of_a_run_shows_items_and_keeps_a_note(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(f"{P}/run/5")
    assert page.locator("#items tbody tr").count() == 5
    assert "no tilt within 10 deg" in page.inner_text("#items")
    assert page.locator("main img[onerror]").count() == 0
    page.fill("#comment", "<b>patch side 680</b>")
    page.locator("#comment").blur()
    page.wait_for_function("() => document.querySelector('#messages').innerText.includes('kept')")
    opened.reload()
    assert page.input_value("#comment") == "<b>patch side 680</b>"
    opened.shot("run")
    page.click("#delete")
    assert "Runs 6 need run 5" in page.inner_text("#sure-text")
    page.click("#sure-no")


def test_a_viewer_can_start_and_delete_nothing(served: Served) -> None:
    headers = {"authorization": f"token {served.access.viewer_token}", "x-cryoloom": "1"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        for method, path in (
            ("POST", "/start"),
            ("POST", "/resume"),
            ("POST", "/stop"),
            ("DELETE", "/run/6"),
        ):
            assert http.request(method, P + path, json={}).status_code == 403


def test_the_next_step_is_offered_with_its_input(window: Any, served: Served) -> None:
    """On a run of alignments: steps that take series, fed by it; not those that take particles."""
    opened = window(served)
    page = opened.go(f"{P}/run/5")
    page.click("text=Next step")
    page.wait_for_selector("#steps button", timeout=60_000)
    names = page.eval_on_selector_all("#steps button", "all => all.map(one => one.textContent)")
    assert "reconstruct" in names
    assert not {"refine", "import_movies", "denoise"} & set(names)
    page.click("#steps button >> text=estimate_slab")
    assert page.input_value("#input-input") == "5"
    page.click("#any")
    page.wait_for_selector("#steps button >> text=refine")
