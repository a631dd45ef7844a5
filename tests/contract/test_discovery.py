"""Steps are found in their folder: each module declares one, and summaries need no import of a step."""

import pkgutil
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest

import cryoloom.steps
from cryoloom.contract import all_steps, discovery
from cryoloom.contract.discovery import (
    figure_meaning,
    figure_names,
    find_step,
    program_steps,
    record_names,
    step_summaries,
    steps_taking,
)
from cryoloom.contract.figures import FigureRole
from cryoloom.contract.step import ByHand
from cryoloom.errors import UserInputError


def test_every_module_of_the_folder_declares_the_step_of_its_name():
    modules = {module.name for module in pkgutil.iter_modules(cryoloom.steps.__path__)}
    native = {name for name, step in all_steps().items() if "cryoloom.steps." in step.function.__module__}
    declared_in = {all_steps()[name].function.__module__.rsplit(".", 1)[-1] for name in native}
    assert modules == declared_in == native, "work that steps share goes to procedures/"


def test_summaries_read_from_the_source_are_those_of_the_declarations():
    assert step_summaries() == {name: step.summary for name, step in all_steps().items()}
    assert program_steps() == {name for name, step in all_steps().items() if step.programs}


def test_figures_of_a_role_read_from_the_source_are_those_declared():
    roles = {figure.role for step in all_steps().values() for figure in step.figures}
    assert roles == set(get_args(FigureRole))
    for role in roles - {""}:
        declared = {f.name for step in all_steps().values() for f in step.figures if f.role == role}
        assert figure_names(role) == declared


def test_the_meaning_of_a_role_is_the_one_of_a_step():
    for role in set(get_args(FigureRole)) - {""}:
        assert figure_meaning(role) in {
            figure.meaning for step in all_steps().values() for figure in step.figures if figure.role == role
        }
    assert figure_meaning("defocus") == "Underfocus of the middle of the specimen."


def test_records_are_found_by_the_drawing_they_declare():
    drawings = {record.shows for step in all_steps().values() for record in step.records} - {"table"}
    assert drawings >= {"ctf_curves", "residuals", "tilt_quality", "evidence"}
    for shows in drawings:
        declared = {r.name for step in all_steps().values() for r in step.records if r.shows == shows}
        assert record_names(shows) == declared


def test_sources_are_read_by_several_threads_at_once():
    """Pages ask for roles in threads of their own, and CPython 3.11 cannot parse in two at once."""
    roles = [*get_args(FigureRole)] * 2
    discovery._in_source.cache_clear()
    with ThreadPoolExecutor(len(roles)) as pool:
        found = list(pool.map(figure_names, roles))
    assert found == [figure_names(role) for role in roles]


def test_an_unknown_step_is_refused_with_the_nearest_names():
    assert find_step("reconstruct") is all_steps()["reconstruct"]
    with pytest.raises(UserInputError, match=r"no step 'reconstuct'; did you mean reconstruct"):
        find_step("reconstuct")


def test_what_users_draw_has_a_step_that_takes_it():
    for kind in get_args(ByHand):
        declared = tuple(name for name, step in all_steps().items() if kind in step.takes_by_hand)
        assert steps_taking(kind) == declared
        assert len(declared) == 1
