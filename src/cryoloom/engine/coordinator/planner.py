"""From a piece of work to a task: its run, its cache key, and all data that a worker needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryoloom.contract import Step, find_step
from cryoloom.engine.coordinator.input_matching import Taken, WorkItem, as_tuple
from cryoloom.engine.environment import describe_environment
from cryoloom.engine.graph.validation import validated
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow, link_of, validated_params
from cryoloom.engine.worker.task import Encoded, Task
from cryoloom.errors import CryoloomError
from cryoloom.store.codec import fingerprint
from cryoloom.store.current import own_parameters_of
from cryoloom.store.database import Database
from cryoloom.store.decisions import in_force
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["N_EXPECTED", "Planner"]

N_EXPECTED = "n_expected"
"""Record of an item that is still growing: the number of tilts that it will probably have."""


class Planner:
    """Begins the runs of a workflow and makes their tasks."""

    def __init__(
        self,
        project: Path,
        database: Database,
        workflow: Workflow,
        coordinator: str,
        *,
        plan_id: int | None = None,
        with_own_parameters: bool = True,
    ) -> None:
        self._project, self._database, self._plan_id = project, database, plan_id
        self._workflow, self._coordinator = workflow, coordinator
        self._overrides = database.tilt_overrides()
        decisions = in_force(database.decisions())
        self._own = own_parameters_of(decisions) if with_own_parameters else {}
        self._left_out = {
            one.item: one.why for one in decisions if one.kind == "series" and not one.value["keep"]
        }
        self._step_of_run = {run.id: run.step for run in database.runs()}
        self.runs: dict[str, RunRecord] = {}
        """Runs by node, as far as they were begun."""

    def run_of(self, node: Node) -> RunRecord:
        """The run of a node, begun with its first item: a request that fails at once leaves no empty runs."""
        if node.name not in self.runs:
            links = {role: link_of(source) for role, source in node.feeds.items()}
            fed_by = {
                role: self.run_of(self._workflow.node(link.node)).id if link.run_id is None else link.run_id
                for role, link in links.items()
            }
            run = self._database.begin_run(
                node.name,
                node.step,
                find_step(node.step).version,
                validated_params(node).model_dump(mode="json"),
                fed_by.pop(INPUT, None),
                describe_environment(),
                fed_by,
                {role: link.output for role, link in links.items() if link.output},
            )
            self.runs[node.name], self._step_of_run[run.id] = run, run.step
            if self._plan_id is not None:
                self._database.note_run_of_plan(self._plan_id, node.name, run.id)
        return self.runs[node.name]

    def is_left_out(self, name: str) -> bool:
        """Whether a user excludes a whole series."""
        return name in self._left_out

    def own_parameters(self, node: Node, name: str) -> dict[str, Any]:
        """Parameters in which an item differs from the run of its node, checked."""
        given = self._own.get((name, node.name))
        if not given:
            return {}
        run = self.run_of(node)
        checked = validated(
            find_step(node.step).params, {**run.parameters, **given}, f"{node.name} of {name}"
        ).model_dump(mode="json")
        return {key: value for key, value in checked.items() if run.parameters.get(key) != value}

    def made_from(self, work: WorkItem) -> dict[str, Any]:
        """Dependencies of a result other than parameters (`ItemRecord.made_from`)."""
        step = find_step(work.node.step)
        names = {item.name for item in work.items}
        made: dict[str, Any] = {
            "inputs": {
                role: {item.name: self._content_key(item) for item in as_tuple(taken)}
                for role, taken in work.taken.items()
            },
            "decisions": None
            if step.ignores_exclusions
            else {name: self._decided(name, step) for name in sorted(names) if self._decided(name, step)},
        }
        if step.hands_on:
            made["content"] = self._content_key(work.items[0])
        return made

    def task(self, work: WorkItem, key: str, absent: str = "") -> Task:
        """The task of a piece of work.

        key : from `key`. absent : items to warn about, because they did not reach a gathering step.
        """
        node, step, run = work.node, find_step(work.node.step), self.run_of(work.node)
        first, others = work.taken[INPUT], work.others
        figures, not_measurable = self._upstream_figures(work.items[0]) if step.reads_figures else ({}, {})
        names = {item.name for item in work.items}
        return Task(
            project=self._project,
            node=node.name,
            step=node.step,
            parameters={**run.parameters, **(own := self.own_parameters(node, work.name))},
            own_parameters=own,
            made_from=self.made_from(work),
            run_folder=run.folder,
            run_id=run.id,
            item=work.name,
            key=key,
            value=self._values(first),
            input_item_id=work.input_item_id,
            gathered=work.gathered,
            overrides={}
            if step.ignores_exclusions
            else {n: o for n, o in self._overrides.items() if n in names},
            others={role: self._values(taken) for role, taken in others.items()},
            other_item_ids=work.other_item_ids,
            upstream_figures=figures,
            upstream_not_measurable=not_measurable,
            absent=absent,
            coordinator=self._coordinator,
        )

    def _upstream_figures(self, item: ItemRecord) -> tuple[dict[str, float], dict[str, str]]:
        """Figures of an item and of what it was made from, the nearest first, and why some have no value."""
        figures: dict[str, float] = {}
        not_measurable: dict[str, str] = {}
        for upstream in (item, *self._database.ancestors(item)):
            new = {name: why for name, why in upstream.not_measurable.items() if name not in figures}
            figures |= {
                name: value
                for name, value in upstream.figures.items()
                if name not in figures and name not in not_measurable
            }
            not_measurable = new | not_measurable
        return figures, not_measurable

    def growing_task(self, node: Node, item: ItemRecord) -> Task:
        """Work that can be done ahead for an item that is still growing."""
        run = self.run_of(node)
        return Task(
            project=self._project,
            node=node.name,
            step=node.step,
            parameters=run.parameters,
            run_folder=run.folder,
            run_id=run.id,
            item=item.name,
            key=item.key,
            value=dict(item.value or {}),
            grows=True,
            n_expected=int(item.records.get(N_EXPECTED, 0)),
        )

    def key(self, work: WorkItem) -> str:
        """Hash of the step, its version and parameters, and of all inputs."""
        step, run, first = find_step(work.node.step), self.run_of(work.node), work.taken[INPUT]
        decided: list[Any] = []
        if isinstance(first, tuple):
            keys = [fingerprint({item.name: self._input_key(item, step) for item in first})]
        else:
            keys, decided = [self._content_key(first)], self._decided(first.name, step)
        if work.others:  # omitted if there are none, so that keys of older projects stay valid
            known = {}
            for role, taken in work.others.items():
                if isinstance(taken, tuple):
                    known[role] = fingerprint({item.name: self._input_key(item, step) for item in taken})
                elif taken.name == work.name:
                    known[role] = self._content_key(taken)
                else:
                    known[role] = fingerprint(self._input_key(taken, step))
            keys.append(fingerprint(known))
        parameters = {**run.parameters, **self.own_parameters(work.node, work.name)}
        if outside := _outside_facts(step, parameters, work.name):
            keys.append(fingerprint(outside))
        return fingerprint(work.node.step, step.version, parameters, *keys, decided)

    def _input_key(self, item: ItemRecord, step: Step) -> list[Any]:
        return [self._content_key(item), self._decided(item.name, step)]

    def _decided(self, name: str, step: Step) -> list[Any]:
        """Decisions of users on the tilts of a series, as far as the step uses them."""
        overrides = () if step.ignores_exclusions else self._overrides.get(name, ())
        return [[o.acquisition_index, o.keep, o.reason] for o in overrides]

    def _content_key(self, item: ItemRecord) -> str:
        """Key of an item's content: a step that only selects items passes its input on."""
        while item.input_item_id is not None and find_step(self._step_of_run[item.run_id]).hands_on:
            item = self._database.item(item.input_item_id)
        return item.key

    def _values(self, taken: Taken) -> Encoded | tuple[Encoded, ...]:
        """Values of items; an item found in the database comes without it."""
        if isinstance(taken, tuple):
            return tuple(self._value(item) for item in taken)
        return self._value(taken)

    def _value(self, item: ItemRecord) -> Encoded:
        if item.value is None and item.id is not None:
            return self._database.value_of(item.id) or {}
        return item.value or {}


def _outside_facts(step: Step, parameters: Mapping[str, Any], name: str) -> object:
    """External data of a step (`Step.outside`); missing or unfit files are part of them."""
    if step.outside is None:
        return None
    try:
        return step.outside(name, step.params.model_validate(parameters))
    except (CryoloomError, OSError) as failure:
        return str(failure)
