"""Forms made from declarations, commands, jobs that outlive the server, and paths."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cryoloom.contract import all_steps
from cryoloom.web import step_child
from cryoloom.web.run_request import defaults_of
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


def test_a_copied_run_says_in_what_it_differs_and_lengths_are_pixels_too(window: Any, served: Served) -> None:
    page = window(served).go(f"{P}/new?like=5")
    page.wait_for_selector("#field-patch_angstrom", timeout=60_000)
    page.wait_for_function("() => document.querySelector('#differences').innerText.includes('As run 5')")
    page.fill("#find", "patch")
    shown = page.eval_on_selector_all(
        ".field[data-name]:not([hidden])", "all => all.map(one => one.dataset.name)"
    )
    assert {"patch_angstrom", "patch_overlap"} <= set(shown)
    assert "bead_diameter_angstrom" not in shown
    page.fill("#field-patch_angstrom", "480")
    assert page.inner_text(".field[data-name=patch_angstrom] .in-pixels") == "= 30 px"  # of 16 angstrom
    page.wait_for_function("() => document.querySelector('#differences').innerText.includes('→ 480')")
    page.fill("#find", "")
    assert page.locator(".field[data-name=method]").is_visible()


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
