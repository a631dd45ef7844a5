"""Single runs: one step on the results of a run, a copy with other parameters, deleting, comparing."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from cryoloom.contract import Figure, find_step
from cryoloom.contract.step import kind_of
from cryoloom.contract.step_facts import step_facts
from cryoloom.engine.graph.workflow import Node, Workflow
from cryoloom.engine.history.results import named_run, names_of, sentence
from cryoloom.errors import UserInputError
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord, RunRecord

if TYPE_CHECKING:
    from cryoloom.store.database import Database

__all__ = ["Comparison", "compare_runs", "delete_runs", "dependents_of", "find_run", "plan_of_one_step"]

RunName = str | int
"""Number of a run, or its name: the one of that name that was processed last."""


def find_run(database: Reader, name: RunName) -> RunRecord:
    """A run by number, or the one of a name that was processed last."""
    return named_run(database.runs(), name)


def plan_of_one_step(
    database: Reader,
    step: str,
    *,
    input: RunName | None,
    like: RunName | None,
    items: Iterable[str],
    values: Mapping[str, Any],
) -> Workflow:
    """A workflow of one step on existing runs; ``run.output`` names a further output of one.

    like : a run of the same step, whose parameters and inputs are used unless given.
    values : parameters of the step, and runs for its further inputs by role.
    """
    declared = find_step(step)
    pattern = None if like is None else find_run(database, like)
    if pattern is not None and pattern.step != step:
        raise UserInputError(f"run {pattern.id} is a run of {pattern.step}, expected one of {step}")
    roles: dict[str, RunName | None] = {"input": input} if declared.needs is not None else {}
    if declared.needs is None and input is not None:
        raise UserInputError(f"step {step} reads raw data and takes no input run")
    roles |= {role: values.get(role) for role in declared.also_needs}
    feeds: dict[str, str] = {}
    for role, name in roles.items():
        source = name if name is not None else _fed_like(pattern, role)
        if source is None:
            wanted = declared.needs if role == "input" else kind_of(declared.also_needs[role])
            raise UserInputError(_no_run_was_named(step, role, wanted, database.runs()))
        run_name, _, output = str(source).partition(".")
        feeds[role] = f"run:{find_run(database, run_name).id}" + (f".{output}" if output else "")
    parameters = {name: value for name, value in values.items() if name not in roles}
    node = Node(
        name=step if pattern is None else pattern.node,
        step=step,
        input=feeds.pop("input", None),
        links=feeds,
        items=tuple(items),
        parameters={**({} if pattern is None else pattern.parameters), **parameters},
    )
    return Workflow(name=node.name, steps=(node,))


def _no_run_was_named(step: str, role: str, wanted: type | None, runs: Iterable[RunRecord]) -> str:
    """What to give, and the runs that fit; a step that passes its input on may fit too."""
    option = f"--{role.replace('_', '-')} RUN"
    kind = getattr(wanted, "__name__", "")
    every = tuple(runs)
    fitting = [run for run in every if step_facts(run.step).gives in {kind, "object"}]
    if not fitting:
        return f"step {step} needs a run that gives {kind}, and none here does; runs here: {names_of(every)}"
    return f"step {step} needs a run that gives its {role}: give {option}; runs here: {names_of(fitting)}"


def _fed_like(pattern: RunRecord | None, role: str) -> RunName | None:
    if pattern is None:
        return None
    run_id = pattern.input_run_id if role == "input" else pattern.links.get(role)
    return None if run_id is None else f"{run_id}.{pattern.outputs.get(role, '')}"


def dependents_of(database: Reader, run_id: int) -> tuple[RunRecord, ...]:
    """Runs that use the results of a run, and those that depend on them."""
    uses: dict[int, set[int]] = {run.id: set(run.input_run_ids) for run in database.runs()}
    for run, origin in database.takeovers():
        uses[run].add(origin)
    found = {run_id}
    while True:
        more = {run for run, used in uses.items() if used & found} - found
        if not more:
            return tuple(run for run in database.runs() if run.id in found - {run_id})
        found |= more


def delete_runs(
    database: Database, folder: Path, run: RunRecord, *, with_dependents: bool
) -> list[RunRecord]:
    """Delete a run with its items and files; returns all that was deleted.

    Refused while other runs depend on it, unless they are deleted too. Records are deleted first, in one
    transaction: files left by a crash belong to no run, and the run's number is not used again.
    """
    dependents = dependents_of(database, run.id)
    if dependents and not with_dependents:
        raise UserInputError(
            f"run {run.id} ({run.node}) is needed by {names_of(dependents)}; "
            "delete those first, or all with --with-dependents"
        )
    doomed = [*dependents, run]
    database.delete_runs([each.id for each in doomed])
    for each in doomed:
        shutil.rmtree(folder / each.folder, ignore_errors=True)
    return doomed


_WORKED_ON = {"with_values": False, "with_parts": False}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side: differences in how they were made, and every figure of every item."""

    runs: tuple[RunRecord, RunRecord]
    parameters: Mapping[str, tuple[Any, Any]]
    """Those that differ, and step, version, inputs and program where these differ."""
    figures: Mapping[str, Mapping[str, tuple[float | None, float | None]]]
    """By item and figure; None if a run does not have it."""
    not_measurable: Mapping[str, Mapping[str, tuple[str, str]]]
    """Why a figure has no value, by item and figure; "" if it has one or the run does not make it."""
    declared: Mapping[str, Figure]
    """What each figure means, by name, as the steps of the runs declare it."""
    medians: Mapping[str, tuple[float | None, float | None]]
    """Medians of every figure, over the items that both runs have."""
    states: Mapping[str, tuple[str, str]]
    """State of every item, with its error or reason; "absent" where a run does not have it."""
    seconds: tuple[float | None, float | None]
    """Median time of the items that both runs finished."""

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "runs": [{"id": run.id, "name": run.node, "step": run.step} for run in self.runs],
            "parameters": {name: list(pair) for name, pair in self.parameters.items()},
            "medians": {name: list(pair) for name, pair in self.medians.items()},
            "seconds": list(self.seconds),
            "figures": {
                name: {"title": figure.title, "unit": figure.unit, "meaning": figure.meaning}
                for name, figure in self.declared.items()
            },
            "items": {
                item: {
                    "states": list(self.states[item]),
                    "figures": {name: list(pair) for name, pair in figures.items()},
                    "not_measurable": {n: list(why) for n, why in self.not_measurable[item].items()},
                }
                for item, figures in self.figures.items()
            },
        }


def compare_runs(database: Reader, first: RunRecord, second: RunRecord) -> Comparison:
    """Parameters and figures of two runs; items that both have come first."""
    runs = (first, second)
    items = [{item.name: item for item in database.items(run.id, **_WORKED_ON)} for run in runs]
    names = sorted({*items[0], *items[1]}, key=lambda name: (not all(name in made for made in items), name))
    figures: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    reasons: dict[str, dict[str, tuple[str, str]]] = {}
    for name in names:
        mine, its = (dict(made[name].figures) if name in made else {} for made in items)
        why, whose = (dict(made[name].not_measurable) if name in made else {} for made in items)
        reasons[name] = {figure: (why.get(figure, ""), whose.get(figure, "")) for figure in {**why, **whose}}
        both = dict.fromkeys([*mine, *its, *reasons[name]])
        figures[name] = {figure: (mine.get(figure), its.get(figure)) for figure in both}
    declared = {figure.name: figure for run in (second, first) for figure in step_facts(run.step).figures}
    shared = [name for name in names if name in items[0] and name in items[1]]
    return Comparison(
        runs,
        _differences([_made_how(run) for run in runs]),
        figures,
        reasons,
        {name: figure for name, figure in declared.items() if any(name in each for each in figures.values())},
        {
            figure: _medians([figures[name].get(figure, (None, None)) for name in shared])
            for figure in dict.fromkeys(figure for name in shared for figure in figures[name])
        },
        {name: (_state(items[0].get(name)), _state(items[1].get(name))) for name in names},
        _medians([_seconds(items[0][name], items[1][name]) for name in shared]),
    )


def _made_how(run: RunRecord) -> dict[str, Any]:
    inputs = {"input": run.input_run_id, **run.links}
    return {
        "step": run.step,
        "step version": run.step_version,
        "cryoloom": run.environment.get("cryoloom"),
        **{f"{role} run": value for role, value in inputs.items()},
        **run.parameters,
    }


def _differences(made: list[dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    first, second = made
    pairs = {name: (first.get(name), second.get(name)) for name in {**first, **second}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _medians(pairs: list[tuple[float | None, float | None]]) -> tuple[float | None, float | None]:
    columns = ([value for value in column if value is not None] for column in zip(*pairs, strict=True))
    first, second = (median(column) if column else None for column in columns)
    return first, second


def _seconds(first: ItemRecord, second: ItemRecord) -> tuple[float | None, float | None]:
    """Time of an item in both runs; None if one of them did not finish it."""
    return (first.seconds, second.seconds) if first.state == second.state == "done" else (None, None)


def _state(item: ItemRecord | None) -> str:
    if item is None:
        return "absent"
    why = sentence(item.error) or item.reason
    return f"{item.state}: {why}" if why else item.state
