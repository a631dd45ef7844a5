"""A project: the folder in which data are processed and every step is recorded."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract import find_step
from cryoloom.contract.program import Program
from cryoloom.engine.coordinator.disk_budget import DiskPolicy
from cryoloom.engine.coordinator.dry_run import PlannedNode, plan_nodes
from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.coordinator.requests import ask_to_gather, forget_requests
from cryoloom.engine.coordinator.retention import Keep, Removable, clean, parse_keep, removable
from cryoloom.engine.coordinator.scheduler import Listener, Scheduler, Summary
from cryoloom.engine.coordinator.sources import OpenSource, source_items
from cryoloom.engine.executors.executor import Executor
from cryoloom.engine.executors.hand_over import forget_handed_over
from cryoloom.engine.executors.workplace import Workplace
from cryoloom.engine.exporting import (
    EXPORT_FORMATS,
    FORMATS,
    Exported,
    add_notes,
    exportable,
    fit_for,
    parts_behind,
    select_for_export,
    write_particle_files,
)
from cryoloom.engine.graph.current_workflow import changes_by_hand, changes_of_series, current_workflow
from cryoloom.engine.graph.raw_data import plan_for_raw_data
from cryoloom.engine.graph.with_programs import with_programs
from cryoloom.engine.graph.workflow import Workflow, load_workflow, validated_params
from cryoloom.engine.graph.workflow_export import last_workflow_of, workflow_of_runs
from cryoloom.engine.history.item_logs import item_log
from cryoloom.engine.history.provenance import Origin, origin_of_file, record_export
from cryoloom.engine.history.results import ItemResult, by_activity, results_of
from cryoloom.engine.history.runs import Comparison, compare_runs, delete_runs, find_run, plan_of_one_step
from cryoloom.engine.worker.interruption import STOP_FILE, ask_to_stop
from cryoloom.engine.worker.program_finder import why_not
from cryoloom.engine.worker.task import load_value
from cryoloom.errors import TransientError, UserInputError
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS
from cryoloom.formats.relion.particle_export import write_relion5_particles
from cryoloom.model import Item
from cryoloom.store.curation import Curation
from cryoloom.store.current import CurrentState, current_state
from cryoloom.store.database import Database
from cryoloom.store.decisions import Author, Change, Decision, this_user
from cryoloom.store.lock import coordinator_lock
from cryoloom.store.names import FILE_NAME, UNFINISHED_NAME
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["Project"]

_DISK = "disk"
ExportFormat = Literal[
    "relion5", "imod", "aretomo", "warp", "relion4", "dynamo", "stopgap", "motl", "emclarity", "eman2",
    "copick", "cets", "scipion", "csv", "text",
]  # fmt: skip


class Project:
    """A folder with a database, run folders and a report. Use `open` or `create`."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database

    @classmethod
    def create(cls, folder: str | Path) -> Project:
        """Make a project in a new or empty folder."""
        path = Path(folder).absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(not entry.name.startswith(UNFINISHED_NAME) for entry in path.iterdir()):
                raise UserInputError(f"{path} is not empty; a new project needs an empty folder")
            return cls(path, Database.create(path))
        except OSError as error:
            raise TransientError(f"no project can be made in {path}: {error.strerror}") from error

    @classmethod
    def open(cls, folder: str | Path, *, create: bool = False) -> Project:
        """Open a project; with ``create`` make it if there is none."""
        path = Path(folder).absolute()
        if create and not (path / FILE_NAME).exists():
            return cls.create(path)
        return cls(path, Database.open(path))

    # Work

    def process(
        self,
        raw: str | Path,
        *,
        workflow: str | Path | None = None,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        device: str = "auto",
        executor: Executor | Workplace | None = None,
        listener: Listener | None = None,
        of_series: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        programs: bool = False,
        **given: Any,
    ) -> Summary:
        """Turn a folder of movies, or a stack, into tomograms.

        workflow : a shipped workflow or a file; by default chosen for ``raw``. parameters :
        ``{node: {parameter: value}}``. of_series : as of `run_workflow`. programs : take outside programs
        where the workflow names them and this machine has them. given : parameters of the source
        (gain, pixel_size_angstrom, dose_per_tilt_per_angstrom2, ...); None means not given.
        executor : by default threads of this process.
        """
        plan = self.workflow_for(raw, workflow, programs=programs, executor=executor, device=device, **given)
        return self.run_workflow(
            plan,
            parameters=parameters,
            device=device,
            executor=executor,
            listener=listener,
            of_series=of_series,
        )

    def run_workflow(
        self,
        workflow: Workflow | str | Path,
        *,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        device: str = "auto",
        executor: Executor | Workplace | None = None,
        listener: Listener | None = None,
        open_source: OpenSource = source_items,
        of_series: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> Summary:
        """Run a workflow over everything its source finds; existing results are reused.

        parameters : ``{node: {parameter: value}}``, over those of the workflow. open_source : how items come,
        for a source that brings them as time passes. of_series : parameters of single series,
        ``{series: {node: {parameter: value}}}``; they are kept as decisions, for later runs too.
        """
        loaded = workflow if isinstance(workflow, Workflow) else load_workflow(workflow)
        planned = loaded.with_parameters(parameters or {})
        changes = changes_of_series(planned, of_series or {})
        with coordinator_lock(self.folder) as coordinator:
            if changes:
                self.decide(changes, "given with the workflow")
            return self._asked(planned, self._workers(executor, device), listener, coordinator, open_source)

    def _asked(
        self,
        planned: Workflow,
        workers: Executor,
        listener: Listener | None,
        coordinator: str,
        open_source: OpenSource = source_items,
        *,
        by_hand: bool = False,
    ) -> Summary:
        """Store a request and execute it; one that is wrong as a whole is not stored."""
        plan_id = self.database.add_plan(planned.model_dump(mode="json"), shlex.join(sys.argv))
        try:
            return self._work(planned, workers, listener, coordinator, open_source, plan_id, by_hand=by_hand)
        except UserInputError:
            runs = dict(next(plan for plan in self.database.plans() if plan.id == plan_id).runs)
            if not set(runs.values()) & set(self.database.count_states()):
                self.database.forget_plan(plan_id)
            raise

    def run(
        self,
        step: str,
        *,
        input: str | int | None = None,
        like: str | int | None = None,
        items: Iterable[str] = (),
        device: str = "auto",
        executor: Executor | Workplace | None = None,
        listener: Listener | None = None,
        **values: Any,
    ) -> Summary:
        """Run one step on the results of a run (its number, or its name for the latest of that name).

        like : a run whose inputs and parameters are taken where nothing else is given. values : parameters,
        and runs for further inputs (``poses_from=4``). Where the step is one of the current workflow, other
        parameters for named items are kept as decisions: `resume` goes on from what this gives.
        """
        plan = plan_of_one_step(self.database, step, input=input, like=like, items=items, values=values)
        changes = changes_by_hand(self.database, plan, values)
        # What was decided for a step before its first run (picks, for `pick_by_hand`) is meant for that run.
        is_first = all(run.node != plan.steps[0].name for run in self.database.runs())
        with coordinator_lock(self.folder) as coordinator:
            if changes:
                self.decide(changes, "run by hand")
            workers = self._workers(executor, device)
            return self._asked(plan, workers, listener, coordinator, by_hand=not is_first)

    def resume(
        self,
        *,
        device: str = "auto",
        executor: Executor | Workplace | None = None,
        listener: Listener | None = None,
        remake: Iterable[str] = (),
    ) -> Summary:
        """Update every item to its current result: unfinished, failed and outdated work is done.

        remake : nodes whose files were removed by `clean` and are wanted again.
        """
        workflow, last = self.current_workflow(), self.database.last_plan()
        with coordinator_lock(self.folder) as coordinator:
            for node in remake:
                made = self.database.items(self.find_run(node).id, with_values=False)
                self.database.forget_cleaning([item.id for item in made if item.id is not None])
            workers = self._workers(executor, device)
            return self._work(
                workflow, workers, listener, coordinator, plan_id=None if last is None else last.id
            )

    def dry_run(
        self,
        workflow: Workflow | str | Path | None = None,
        *,
        raw: str | Path | None = None,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        of_series: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        programs: bool = False,
        **given: Any,
    ) -> tuple[PlannedNode, ...]:
        """The work that `process` (with ``raw``), `run_workflow` or else `resume` would do now.

        Arguments as there. Raw data are read only as far as necessary.
        """
        if raw is not None:
            if isinstance(workflow, Workflow):
                raise UserInputError("give the name or file of a workflow for raw data, or a workflow alone")
            plan = self.workflow_for(raw, workflow, programs=programs, **given)
        elif workflow is None:
            plan = self.current_workflow()
        else:
            plan = workflow if isinstance(workflow, Workflow) else load_workflow(workflow)
        planned = plan.with_parameters(parameters or {})
        changes = changes_of_series(planned, of_series or {})
        with coordinator_lock(self.folder):
            return plan_nodes(self.folder, self.database, planned, changes)

    def workflow_for(
        self,
        raw: str | Path,
        workflow: str | Path | None = None,
        *,
        programs: bool = False,
        executor: Executor | Workplace | None = None,
        device: str = "auto",
        **given: Any,
    ) -> Workflow:
        """The workflow that `process` runs on raw data; its notes say which programs do which step."""
        plan = plan_for_raw_data(Path(raw), str(workflow) if workflow else None, given)
        return with_programs(plan, _why_not(executor, device)) if programs else plan

    def current_workflow(self) -> Workflow:
        """The requested workflow: the last one with a source, and steps run by hand on its results."""
        workflow = current_workflow(self.database)
        if workflow is None:
            raise UserInputError(
                f"nothing was run in {self.folder} yet; "
                f"start with `cryoloom process RAW --project {self.folder}`"
            )
        return workflow

    def state(self) -> CurrentState:
        """State of every item: current, outdated, pending, failed or left out."""
        return current_state(self.database)

    def _workers(self, executor: Executor | Workplace | None, device: str) -> Executor:
        if executor is None:
            executor = Workplace(device=device)
        return executor.open(self.folder) if isinstance(executor, Workplace) else executor

    def _work(
        self,
        workflow: Workflow,
        workers: Executor,
        listener: Listener | None,
        coordinator: str,
        open_source: OpenSource = source_items,
        plan_id: int | None = None,
        *,
        by_hand: bool = False,
    ) -> Summary:
        (self.folder / STOP_FILE).unlink(missing_ok=True)
        forget_requests(self.folder)
        forget_handed_over(self.folder)
        try:
            scheduler = Scheduler(
                self.folder,
                self.database,
                workers,
                listener or NullListener(),
                open_source,
                coordinator,
                plan_id,
                self.disk_policy(),
                with_own_parameters=not by_hand,
            )
            return scheduler.run(workflow)
        finally:
            workers.close()

    def stop(self) -> None:
        """Ask a running coordinator to stop; finished results stay."""
        ask_to_stop(self.folder)

    def gather(self, node: str) -> None:
        """Ask a running coordinator to start a gathering step of its workflow with the items so far.

        Without this it starts when its input is complete. Items that come later make it run again.
        """
        gathering = [n.name for n in self.last_workflow().steps if find_step(n.step).gathers]
        if node not in gathering:
            known = ", ".join(gathering) or "none"
            raise UserInputError(f"there is no gathering step {node!r} in the workflow; it has {known}")
        ask_to_gather(self.folder, node)

    # Runs

    def find_run(self, name_or_id: str | int) -> RunRecord:
        """A run by number, or the one of a name that was processed last."""
        return find_run(self.database, name_or_id)

    def runs_of(self, step: str) -> tuple[RunRecord, ...]:
        """The run of a step that was processed last, if there is one."""
        made = [run for run in self.database.runs() if run.step == step]
        return tuple(by_activity(made)[-1:])

    def delete_run(self, run: str | int, *, with_dependents: bool = False) -> list[RunRecord]:
        """Delete a run and its files; returns what was deleted.

        Refused while other runs need it, unless these are to be deleted with it.
        """
        with coordinator_lock(self.folder):
            return delete_runs(
                self.database, self.folder, self.find_run(run), with_dependents=with_dependents
            )

    def comment(self, run: str | int, text: str) -> None:
        """Store a note with a run; it replaces the last one."""
        self.curation().comment(f"run:{self.find_run(run).id}", text)

    def compare(self, first: str | int, second: str | int) -> Comparison:
        """Parameters and figures of two runs, side by side."""
        return compare_runs(self.database, self.find_run(first), self.find_run(second))

    # Decisions of users

    def decisions(self) -> tuple[Decision, ...]:
        """All decisions of users, oldest first, including undone ones (`store.decisions.in_force`)."""
        return self.database.decisions()

    def decide(
        self, changes: Iterable[Change], why: str = "", *, author: Author | None = None
    ) -> tuple[Decision, ...]:
        """Record decisions of any kind as one batch, also while a coordinator runs."""
        return self.curation(author).decide(changes, why)

    def undo(self, batch: int | None = None, *, author: Author | None = None) -> tuple[Decision, ...]:
        """Undo one batch of decisions: by the number of one of them, or this user's last."""
        return self.curation(author).undo(batch)

    def exclude(self, series: str, acquisition_indices: Iterable[int], reason: str = "by hand") -> None:
        """Exclude tilts; their pixels and indices stay."""
        self.curation().exclude(series, acquisition_indices, reason)

    def include(self, series: str, acquisition_indices: Iterable[int]) -> None:
        """Keep tilts, even if a step would exclude them."""
        self.curation().include(series, acquisition_indices)

    def curation(self, author: Author | None = None) -> Curation:
        """Decisions by an author; by default the user of this process."""
        return Curation(self.folder, author or this_user())

    # Disk

    def removable(self, keep: Keep, by_node: Mapping[str, Keep] | None = None) -> tuple[Removable, ...]:
        """Files that can be recomputed and need not be kept (`coordinator.retention`)."""
        return removable(self.database, self.folder, keep, by_node)

    def disk_policy(self) -> DiskPolicy:
        """Disk budget of this project, and the files it keeps at the end of its work."""
        stored = json.loads(self.database.setting(_DISK) or "{}")
        keep, by_node = parse_keep(stored.get("keep", ()))
        return DiskPolicy(stored.get("budget_bytes"), keep, by_node)

    def set_disk_policy(
        self, budget_bytes: int | None = None, keep: Sequence[str] | None = None
    ) -> DiskPolicy:
        """Change it for this and all later work; None leaves a value unchanged. keep .

        As `parse_keep` takes it.
        """
        stored = json.loads(self.database.setting(_DISK) or "{}")
        stored |= {} if budget_bytes is None else {"budget_bytes": budget_bytes}
        if keep is not None:
            parse_keep(keep)
            stored["keep"] = list(keep)
        self.database.set_setting(_DISK, json.dumps(stored))
        return self.disk_policy()

    def clean(self, keep: Keep, by_node: Mapping[str, Keep] | None = None) -> tuple[Removable, ...]:
        """Remove these files; returns those removed. A step that needs one later recomputes it."""
        with coordinator_lock(self.folder):
            chosen = self.removable(keep, by_node)
            clean(self.database, self.folder, chosen)
            return chosen

    # Results

    def value(self, item: ItemRecord) -> Any:
        """Value of an item (`model.Item`), as it was made; its pixels are lazy.

        Decisions that are not applied yet are not in it; `state` shows whether there are any.
        """
        if item.value is None:
            raise UserInputError(f"{item.name} has no result: it {item.state}")
        return load_value(item.value, self.folder)

    def item_log(self, run: str | int, item: str) -> Path:
        """File in which the work of a run on an item is logged: warnings, figures, output of programs."""
        return item_log(self.database, self.folder, self.find_run(run), item)

    def values(self, item: ItemRecord) -> tuple[Item, ...]:
        """Value of an item, or, if its work gave a tuple of items, all of these."""
        if not item.is_fanned_out or item.id is None:
            return (self.value(item),)
        parts = [part for part in self.database.parts_of(item.id) if not part.output]
        return tuple(self.value(replace(p, value=self.database.value_of(p.id or 0))) for p in parts)

    def results(self) -> tuple[ItemResult, ...]:
        """Every item of every run, with its files and figures."""
        return results_of(self.database, self.folder)

    def export(
        self,
        format: ExportFormat,
        directory: str | Path,
        *,
        series: Iterable[str] = (),
        outdated: bool = False,
        link: bool = True,
    ) -> Exported:
        """Write the current result of every series, or of those named, in the format of another program.

        Missing series, and the reasons, are in the return value and in ``NOTES.txt``. outdated : export
        series whose decisions are not applied yet as they are, instead of leaving them out. With ``link``
        images are hard-linked if the file system can, otherwise copied.
        """
        if format not in EXPORT_FORMATS:
            raise UserInputError(f"cannot export {format!r}; expected one of {', '.join(EXPORT_FORMATS)}")
        chosen = select_for_export(self.state(), series, outdated=outdated)
        values = [
            self.value(replace(item, value=self.database.value_of(item.id or 0))) for item in chosen.items
        ]
        further = [
            self.value(part)
            for item, value in zip(chosen.items, values, strict=True)
            for part in parts_behind(self.database, item, value)
        ]
        pairs, particles, averages = exportable(values, further)
        target = Path(directory)
        if format not in FORMATS:
            files, notes, names = write_particle_files(format, particles, target)
            missing = {one.name: "it has no particles" for one, _ in pairs if one.name not in names}
            notes = (*chosen.notes.values(), *notes)
            files = add_notes(target, notes, files)
            written = [item for item in chosen.items if item.name in names or item.name == "all"]
            record_export(self.database, format, written, files, target)
            return Exported(files, names, {**missing, **chosen.missing}, notes)
        # Other programs take a tilt's defocus as that of the origin of its pose.
        pairs = [(with_defocus_at_origin(one, assume_centred=True), tomogram) for one, tomogram in pairs]
        fit, refused = fit_for(format, pairs)
        missing = {**refused, **chosen.missing}
        refusals = {name: f"{name} is not in this export: {missing[name]}" for name in refused}
        notes = tuple({**chosen.notes, **refusals}.values())
        if not fit:
            raise UserInputError(
                f"{self.folder} holds no series that can be exported to {format}. {'; '.join(notes)}"
            )
        names = tuple(one.name for one, _ in fit)
        try:
            files = FORMATS[format].write(fit, target, link=link)
            if format == "relion5" and particles:
                made, more_notes = write_relion5_particles(particles, averages, target, set(names), link=link)
                files, notes = files + made, notes + more_notes
            elif format in PARTICLE_FORMATS and any(one.n_particles for one in particles):
                made, more_notes, _ = write_particle_files(format, particles, target)
                files, notes = files + made, notes + more_notes
            files = add_notes(target, notes, files)
        except OSError as error:
            raise TransientError(f"the export to {directory} failed: {error}") from error
        written = [item for item in chosen.items if item.name not in refused]
        record_export(self.database, format, written, files, target)
        return Exported(files, names, missing, notes)

    def origin(self, path: str | Path) -> tuple[Origin, ...]:
        """Provenance of a file, from the raw data to it; also of a copy or an export."""
        return origin_of_file(self.database, self.folder, path)

    def workflow(self) -> Workflow:
        """All runs of the project with their links, as a workflow for other data."""
        return workflow_of_runs(self.database, self.folder.name)

    def last_workflow(self) -> Workflow:
        """The last requested workflow, in a form that can be run on other data."""
        return last_workflow_of(self.database, self.folder)

    def parameters_of(self, node: str) -> Mapping[str, Any]:
        """Parameters a step of the last workflow has, defaults included."""
        return validated_params(self.last_workflow().node(node)).model_dump(mode="json")


def _why_not(executor: Executor | Workplace | None, device: str) -> Callable[[Program], str]:
    """Reason why a program cannot be run; GPUs of a cluster are not seen from here and taken as given."""
    if isinstance(executor, Workplace):
        device = executor.device
    is_elsewhere = isinstance(executor, Workplace) and executor.executor.partition(":")[0] in (
        "slurm",
        "dask",
    )
    has_gpu = device != "cpu" and (is_elsewhere or torch.cuda.is_available())
    return lambda program: why_not(program, has_gpu=has_gpu)
