"""Reading and decisions of a project for the pages; no other module of the web package uses the store.

This module does not import torch. Pixels are returned as paths, so that pages work if a disk is unavailable.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryoloom.algorithms.series.derived_pixels import DERIVED, files_of, reopened
from cryoloom.contract.discovery import figure_names, record_names
from cryoloom.contract.figures import FigureRole
from cryoloom.engine.history.results import sentence
from cryoloom.errors import UserInputError
from cryoloom.model import Average, DecidedBy, Item, Particles, Stack, TiltOverride, TiltSeries, Tomogram
from cryoloom.store.codec import decode, fingerprint
from cryoloom.store.current_log import CurrentLog
from cryoloom.store.current_nodes import CurrentNode
from cryoloom.store.decisions import Author, Change, Decision, Decisions, in_force
from cryoloom.store.names import FILE_NAME
from cryoloom.store.overview import Overview, overview_of
from cryoloom.store.reading import ProjectReader
from cryoloom.store.records import ItemRecord, RunRecord
from cryoloom.web.pictures.images import FileOnly, Image, ImageShelf, open_pixels
from cryoloom.web.pictures.levels import Kind

__all__ = ["ImageAt", "ProjectView", "SeriesView", "TomogramAt", "figure_of", "image_roles"]

#: Chosen: up to this many changed items are read before a page is answered; more are read in the background.
_FEW = 300
_MOST_LOCATED = 256
"""Chosen: number of images whose location is cached."""
_STACKS = ("stack", "weighted", "corrected")
_HALVES = ("images", "even", "odd")
_ROLES = {
    "TiltSeries": tuple(f"{stack}.{half}" for stack in reversed(_STACKS) for half in _HALVES),
    "Tomogram": ("volume", "even", "odd"),
    "Average": ("map",),
}
"""Roles of the images that a value may have, best first, by its kind."""
_COMPUTED = {kind.__name__ for kind in DERIVED}


@dataclass(frozen=True, slots=True)
class ImageAt:
    """Location of an image of a project: its item, and its role in the item's value."""

    item: int
    role: str


@dataclass(frozen=True, slots=True)
class TomogramAt:
    """A tomogram of a series, and its run."""

    run: RunRecord
    item: ItemRecord
    tomogram: Tomogram

    @property
    def title(self) -> str:
        """Title that distinguishes it from other tomograms of the series."""
        return f"{self.run.id} {self.run.node}"


@dataclass(frozen=True, slots=True)
class SeriesView:
    """All records of one series, in the order of the workflow; the keys of mappings are nodes."""

    name: str
    series: TiltSeries | None
    """Latest value, with the decisions of users; None if import failed."""
    found: TiltSeries | None
    """The same value without the decisions of users."""
    overridden: frozenset[int]
    """Acquisition indices with a user's decision."""
    series_item: int | None
    """Item with the value."""
    steps: tuple[tuple[RunRecord, ItemRecord], ...]
    tomograms: tuple[TomogramAt, ...] = ()
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def stack_roles(self) -> tuple[str, ...]:
        """Roles of its stacks in the value of `series_item`, the recorded stack first."""
        if self.series is None or self.series_item is None:
            return ()
        return tuple(role for role in reversed(image_roles(self.series)) if role.endswith(".images"))

    @property
    def failure(self) -> tuple[str, str] | None:
        """Node and message of the first error."""
        return next(
            ((run.node, sentence(item.error) or "") for run, item in self.steps if item.state == "failed"),
            None,
        )

    def tomogram_of(self, run: int | None) -> TomogramAt:
        """The tomogram of a run, the newest without one. Raises UserInputError if there is none."""
        found = [one for one in self.tomograms if run is None or one.run.id == run]
        if not found:
            raise UserInputError(f"{self.name} has no tomogram" + ("" if run is None else f" of run {run}"))
        return found[-1]

    def record(self, shows: str) -> Any:
        """Record that is declared with a drawing, from the last step with one."""
        names = record_names(shows)
        found = [records[name] for records in self.records.values() for name in names & records.keys()]
        return found[-1] if found else None

    def maker_of(self, shows: str) -> RunRecord | None:
        """Last run with a record that is declared with a drawing."""
        names = record_names(shows)
        return next((run for run, item in reversed(self.steps) if names & item.records.keys()), None)

    def figure(self, role: FigureRole) -> float | None:
        """Figure with a role, from the last step that reports one."""
        return figure_of((item for _, item in self.steps), role)


def figure_of(items: Iterable[ItemRecord], role: FigureRole) -> float | None:
    """Last figure with a role, among items in the order of the workflow."""
    names = figure_names(role)
    found = [item.figures[name] for item in items for name in names if name in item.figures]
    return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class _Known:
    """The series of a project, read at one version of its database."""

    version: int
    series: Mapping[str, tuple[tuple[RunRecord, ItemRecord], ...]]
    outdated: Mapping[str, str]
    runs: tuple[RunRecord, ...]
    nodes: tuple[CurrentNode, ...]


class ProjectView:
    """One project, for the pages."""

    def __init__(self, folder: Path, slug: str, shelf: ImageShelf) -> None:
        self.folder = folder.absolute()
        self.slug = slug
        self._shelf = shelf
        self._decisions = Decisions(self.folder)
        self._lock = threading.Lock()
        self._tilts: dict[str, frozenset[int]] = {}
        self._kinds: dict[tuple[int, str], str] = {}
        self._located: dict[tuple[int, str], tuple[int, Any, Kind, str, str]] = {}
        self._recorded: dict[tuple[int, str, str], bool] = {}
        self._watching: sqlite3.Connection | None = None
        self._known: _Known | None = None
        self._is_reading = threading.Lock()
        self._refreshing: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Name for users."""
        is_inner = self.folder.name == "project"
        return self.folder.parent.name if is_inner else self.folder.name

    def close(self) -> None:
        """Close the database."""
        if "_reader" in self.__dict__:
            self._reader.close()
        with self._lock:
            if self._watching is not None:
                self._watching.close()
                self._watching = None

    @functools.cached_property
    def _reader(self) -> ProjectReader:
        """Opened on first use, so that a project that cannot be read does not affect the others."""
        return ProjectReader(self.folder)

    @functools.cached_property
    def _log(self) -> CurrentLog:
        return CurrentLog(self._reader)

    def status_text(self) -> str:
        """Progress of the project in one line."""
        runs = self.runs()
        current = self._current().runs if self.is_known() else runs
        counts = self._reader.count_states()
        total: dict[str, int] = {}
        for run in current:
            for state, n in counts.get(run.id, {}).items():
                total[state] = total.get(state, 0) + n
        parts = [f"{total.get('done', 0)} done"]
        parts += [
            f"{total[state]} {state.replace('_', ' ')}"
            for state in ("failed", "left_out")
            if total.get(state)
        ]
        n_running = sum(run.state == "running" for run in runs)
        if n_running:
            parts.insert(1, f"{n_running} steps running")
        return ", ".join(parts)

    def overview(self) -> Overview:
        """Runs, counts and first errors."""
        return overview_of(self._reader, 20)

    def current_runs(self) -> tuple[RunRecord, ...]:
        """Runs with valid results, in the order of the workflow."""
        return self._current().runs

    def current_nodes(self) -> tuple[CurrentNode, ...]:
        """Nodes of the current workflow."""
        return self._current().nodes

    def run_states(self) -> tuple[tuple[int, str, int], ...]:
        """Number, state and number of items of every run."""
        overview = overview_of(self._reader, 0)
        return tuple((r.id, r.state, sum(overview.counts.get(r.id, {}).values())) for r in overview.runs)

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, oldest first."""
        return self._reader.runs()

    def items(self, run_id: int) -> tuple[ItemRecord, ...]:
        """Items of a run, without their values."""
        return self._reader.items(run_id, with_values=False)

    def history(self) -> Mapping[str, Sequence[tuple[RunRecord, ItemRecord]]]:
        """Items of every series, in the order of the workflow, without values."""
        return self._current().series

    def outdated(self) -> Mapping[str, str]:
        """Series with outdated results, and the reasons."""
        return self._current().outdated

    def is_known(self) -> bool:
        """Whether the series have been read; thousands of them take a second or more."""
        with self._lock:
            if self._known is not None:
                return True
        self._refresh_in_background()
        return False

    def _current(self) -> _Known:
        """The current state of the project; after many changes, the state before them until they are read."""
        version = self.data_version()[0]
        with self._lock:
            known = self._known
        if known is not None and known.version == version:
            return known
        is_small = known is None or len(known.series) < _FEW
        refreshed = self._refresh() if is_small else self._refresh_few()
        if refreshed is None:
            self._refresh_in_background()
        return refreshed or known or self._refresh()

    def _refresh_in_background(self) -> None:
        with self._lock:
            if self._refreshing is None or not self._refreshing.is_alive():
                self._refreshing = threading.Thread(target=self._refresh, name="read project", daemon=True)
                self._refreshing.start()

    def _refresh_few(self) -> _Known | None:
        """Read changes; None if there are many or another thread reads, because a page does not wait."""
        if not self._is_reading.acquire(blocking=False):
            return None
        try:
            return self._read_changes(_FEW)
        finally:
            self._is_reading.release()

    def _refresh(self) -> _Known:
        with self._is_reading:
            found = self._read_changes(None)
        if found is None:
            raise RuntimeError("reading without a limit gives a result")
        return found

    def _read_changes(self, most_changes: int | None) -> _Known | None:
        version = self.data_version()[0]
        state = self._log.read(most_changes)
        if state is None:
            return None
        with self._lock:
            known = self._known
        before = known if state.changed is not None else None
        series = {} if before is None else dict(before.series)
        outdated = {} if before is None else dict(before.outdated)
        names = list(state.series) if before is None or state.changed is None else list(state.changed)
        for name in names:
            one = state.series.get(name)
            made = () if one is None else one.made
            outdated.pop(name, None)
            if one is None or not self._is_series(made):
                series.pop(name, None)
                continue
            series[name] = made
            if one.state == "outdated":
                outdated[name] = one.deciding.why
        if known is not None and series.keys() != known.series.keys():
            series = {name: series[name] for name in state.series if name in series}
        found = _Known(version, series, outdated, state.runs, state.nodes)
        with self._lock:
            self._known = found
        return found

    def series_names(self) -> tuple[str, ...]:
        """Names of all items of the current runs."""
        return tuple(self.history())

    def series(self, name: str) -> SeriesView:
        """One series. Raises UserInputError if the project has no series of this name."""
        if name not in self.history():
            raise UserInputError(f"this project has no series {name!r}")
        return self._series_of(
            name, [(run, self._reader.item(item.id or 0)) for run, item in self.history()[name]]
        )

    def series_with_record(self, name: str, record: str) -> SeriesView:
        """One series with its latest value and one record; nothing else is read."""
        made = self.history()[name]
        kinds = [self.kind_of(run, item) if item.state == "done" else "" for run, item in made]
        valued = [i for i, kind in enumerate(kinds) if kind == "TiltSeries"] or [
            i for i, kind in enumerate(kinds) if kind == "Tomogram"
        ]
        whole = [
            (run, self._reader.item(item.id or 0))
            if i in valued[-1:] or self._has_record(run, item, record)
            else (run, item)
            for i, (run, item) in enumerate(made)
        ]
        return self._series_of(name, whole)

    def _has_record(self, run: RunRecord, item: ItemRecord, record: str) -> bool:
        """Whether the items of a run have a record; one of them is read."""
        key = run.id, item.output, record
        if key not in self._recorded:
            if item.state != "done":
                return True
            self._recorded[key] = record in self._reader.item(item.id or 0).records
        return self._recorded[key]

    def _series_of(self, name: str, whole: Sequence[tuple[RunRecord, ItemRecord]]) -> SeriesView:
        """A series from its items; items without a value were not read."""
        series: TiltSeries | None = None
        series_item: int | None = None
        tomograms: list[TomogramAt] = []
        for run, item in reversed(whole):  # earlier values of the series are not read
            kind = "" if item.state != "done" or item.value is None else item.value.get("$type", "")
            if kind == "Tomogram":
                tomograms.insert(0, TomogramAt(run, item, decode(item.value, self.folder, FileOnly)))
            elif kind == "TiltSeries" and series is None:
                series, series_item = decode(item.value, self.folder, FileOnly), item.id
        if series is None and tomograms:
            series = tomograms[-1].tomogram.series
        overrides = self._overrides(name)
        return SeriesView(
            name,
            None if series is None else series.with_overrides(overrides),
            series,
            frozenset(override.acquisition_index for override in overrides),
            series_item,
            tuple(whole),
            tuple(tomograms),
            {run.node: item.records for run, item in whole if item.records},
        )

    def series_with_tomograms(self) -> list[str]:
        """Names of series with a tomogram."""
        return [
            name
            for name, made in self.history().items()
            if any(item.state == "done" and self.kind_of(run, item) == "Tomogram" for run, item in made)
        ]

    def averages(self) -> tuple[tuple[RunRecord, ItemRecord, Average], ...]:
        """All averages, oldest first."""
        found = []
        for run in self.runs():
            for item in self._reader.items(run.id, with_values=False):
                if item.state == "done" and self.kind_of(run, item) == "Average":
                    whole = self._reader.item(item.id or 0)
                    found.append((run, whole, decode(whole.value, self.folder, FileOnly)))
        return tuple(found)

    def particle_sets_of(self, series: str) -> tuple[tuple[RunRecord, ItemRecord], ...]:
        """Sets that can have particles of a series: sets with its name, and sets of several series."""
        names = set(self.history())
        found = []
        for run in self.runs():
            for item in self._reader.items(run.id, with_values=False):
                is_meant = item.name == series or item.name not in names
                if item.state == "done" and is_meant and self.kind_of(run, item) == "Particles":
                    found.append((run, item))
        return tuple(found)

    def particle_runs(self) -> tuple[tuple[RunRecord, tuple[ItemRecord, ...]], ...]:
        """Runs with particles, and the items that contain them, newest first."""
        found = []
        for run in reversed(self.runs()):
            items = tuple(
                item
                for item in self._reader.items(run.id, with_values=False)
                if item.state == "done" and self.kind_of(run, item) == "Particles"
            )
            if items:
                found.append((run, items))
        return tuple(found)

    def particles(self, item_id: int) -> Particles:
        """A set of particles. Raises UserInputError if the item has none."""
        value = self._reader.value_of(item_id)
        if value is None or value.get("$type") != "Particles":
            raise UserInputError(f"this project has no particles {item_id}")
        found: Particles = decode(value, self.folder, FileOnly)
        return found

    def particles_beside(self, run: RunRecord, item: ItemRecord) -> ItemRecord | None:
        """Particles of an average: those of the same run, otherwise its input."""
        beside = self._reader.items(run.id, with_values=False)
        if item.input_item_id is not None:
            beside = (*beside, self._reader.item(item.input_item_id))
        runs = {one.id: one for one in self.runs()}
        return next(
            (
                one
                for one in beside
                if one.state == "done" and self.kind_of(runs[one.run_id], one) == "Particles"
            ),
            None,
        )

    def record_of(self, item: ItemRecord, name: str) -> Any:
        """A record of an item, of the task it is part of, or of its inputs; None if there is none."""
        for item_id in (item.id, item.part_of, item.input_item_id):
            if item_id is not None and (found := self._reader.item(item_id).records.get(name)) is not None:
                return found
        return None

    def average_beside(self, particles_item: int) -> Average | None:
        """Average of the run of particles; None if there is none."""
        item = self._reader.item(particles_item)
        run = next(one for one in self.runs() if one.id == item.run_id)
        for one in self._reader.items(item.run_id, with_values=False):
            if one.state == "done" and one.name == item.name and self.kind_of(run, one) == "Average":
                found: Average = decode(self._reader.value_of(one.id or 0), self.folder, FileOnly)
                return found
        return None

    def map_of_particles(self, particles_item: int) -> ImageAt | None:
        """Map at the particles' poses: their average, otherwise the map of the picking; else None."""
        for run, item, _ in reversed(self.averages()):
            beside = self.particles_beside(run, item)
            if item.run_id == self._reader.item_without_value(particles_item).run_id or (
                beside is not None and beside.id == particles_item
            ):
                return ImageAt(item.id or 0, "map")
        with contextlib.suppress(UserInputError):
            self._pixels_of(self._reader.value_of(particles_item) or {}, "template.map")
            return ImageAt(particles_item, "template.map")
        return None

    def is_made_of_particles(self, item: ItemRecord) -> bool:
        """Whether an item was made from particles, for example an average placed at their poses."""
        if item.input_item_id is None:
            return False
        source = self._reader.item_without_value(item.input_item_id)
        run = next((one for one in self.runs() if one.id == source.run_id), None)
        return run is not None and self.kind_of(run, source) == "Particles"

    def series_and_run_of(self, item_id: int) -> tuple[str, int]:
        """Name and run of an item."""
        item = self._reader.item(item_id)
        return item.name, item.run_id

    def kind_of(self, run: RunRecord, item: ItemRecord) -> str:
        """Type of the values of a run's output, from one of them; "" if it is not known."""
        key = run.id, item.output
        if key not in self._kinds:
            value = self._reader.value_of(item.id or 0) if item.state == "done" else None
            if value is None:
                return ""
            self._kinds[key] = str(value.get("$type", ""))
        return self._kinds[key]

    def _is_series(self, made: Sequence[tuple[RunRecord, ItemRecord]]) -> bool:
        """Whether a name is that of a tilt series, and not of a set of particles or an average."""
        kinds = {self.kind_of(run, item) for run, item in made}
        return bool(kinds & {"TiltSeries", "Tomogram"}) or any(run.input_run_id is None for run, _ in made)

    def require_series(self, name: str) -> None:
        """Raise UserInputError if the project has no series of this name."""
        if name not in self.history():
            self._named(name)

    def signatures(self) -> dict[str, object]:
        """For every series a value that changes if its value or a decision about it changes."""
        decided: dict[str, list[int]] = {}
        for event in self.decisions():
            decided.setdefault(event.item, []).append(event.id)
        return {
            name: (tuple(item.id for _, item in made), made[-1][1].state, tuple(decided.get(name, ())))
            for name, made in self.history().items()
        }

    def acquisition_indices(self, name: str) -> frozenset[int]:
        """Indices of all tilts of a series; they never change. Raises UserInputError for an unknown name."""
        if name not in self._tilts:
            found: frozenset[int] = frozenset()
            for item in self._named(name):
                value = self._reader.value_of(item.id or 0) or {}
                series = value.get("series", value) if value.get("$type") == "Tomogram" else value
                if series.get("$type") == "TiltSeries":
                    found = frozenset(int(tilt["acquisition_index"]) for tilt in series["tilts"])
                    break
            if not found:
                return found
            self._tilts[name] = found
        return self._tilts[name]

    def _named(self, name: str) -> tuple[ItemRecord, ...]:
        found = self._reader.items_named(name, with_values=False)
        if not found:
            raise UserInputError(f"this project has no series {name!r}")
        return found

    # Decisions

    def decisions(self) -> tuple[Decision, ...]:
        """All events, oldest first."""
        return self._reader.decisions()

    def decide(self, changes: Sequence[Change], author: Author, why: str) -> tuple[Decision, ...]:
        """Record decisions as one batch, even while a coordinator works."""
        return self._decisions.decide(changes, author, why)

    def undo(self, author: Author) -> tuple[Decision, ...]:
        """Undo the author's last batch."""
        return self._decisions.undo(author)

    def redo(self, author: Author) -> tuple[Decision, ...]:
        """Redo the author's last undo; raises UserInputError if this was not the author's last action."""
        events = self._decisions.all()
        undoing = {event.batch for event in events if event.undoes is not None}
        mine = [event for event in events if event.who == author.who and not event.is_undone]
        if not mine or mine[-1].undoes is None or mine[-1].undoes in undoing:
            raise UserInputError("there is nothing to redo: your last decision was no undo")
        return self._decisions.undo(author, mine[-1].batch)

    def data_version(self) -> tuple[int, int]:
        """A number that changes with every write to the database, and the id of the last decision."""
        with self._lock:
            if self._watching is None:
                path = self.folder / FILE_NAME
                uri = f"{path.as_uri()}?mode=ro"
                self._watching = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=5)
            version = self._watching.execute("PRAGMA data_version").fetchone()[0]
            last = self._watching.execute("SELECT coalesce(max(id), 0) FROM decisions").fetchone()[0]
        return int(version), int(last)

    def _overrides(self, name: str) -> tuple[TiltOverride, ...]:
        return tuple(
            TiltOverride(int(one.target), bool(one.value["keep"]), one.why, DecidedBy("user", one.who))
            for one in in_force(self.decisions(), kind="tilt", item=name)
        )

    # Images

    def with_open_pixels(self, series: TiltSeries) -> TiltSeries:
        """The same series with readable stacks. Raises DataUnfitError if a file is missing."""

        def opened(stack: Stack | None) -> Stack | None:
            if stack is None or not files_of(stack.images):
                return None
            return replace(stack, images=reopened(stack.images, lambda path: open_pixels(path)[0]))

        return replace(
            series,
            stack=opened(series.stack),
            weighted=opened(series.weighted),
            corrected=opened(series.corrected),
        )

    def picture_of(self, run: RunRecord) -> ImageAt | None:
        """Image of the last result of a run; None if there is none."""
        done = [one for one in self._reader.items(run.id, with_values=False) if one.state == "done"]
        for item in reversed(done[-3:]):  # if these have no images, the others have none either
            value = self._reader.value_of(item.id or 0) or {}
            for role in _ROLES.get(str(value.get("$type")), ()):
                with contextlib.suppress(UserInputError):
                    self._pixels_of(value, role)
                    return ImageAt(item.id or 0, role)
        return None

    def image(self, item_id: int, role: str) -> Image:
        """Image of an item, by its role such as ``stack.images`` or ``volume``.

        Raises UserInputError if there is none, DataUnfitError if its file is missing or damaged.
        """
        version = self.data_version()[0]
        with self._lock:
            known = self._located.get((item_id, role))
        if known is None or known[0] != version:
            known = (version, *self._locate(item_id, role))
            with self._lock:
                self._located[item_id, role] = known
                if len(self._located) > _MOST_LOCATED:
                    del self._located[next(iter(self._located))]
        _, pixels, kind, name, how = known
        return self._shelf.image(pixels, kind, name, self.folder, how)

    def _locate(self, item_id: int, role: str) -> tuple[Any, Kind, str, str]:
        """Pixels that are not open, their kind and name, and the key part that distinguishes them.

        A page requests dozens of pictures of one image, and reading its value takes longer than a picture.
        """
        value = self._reader.value_of(item_id)
        if value is None:
            raise UserInputError(f"this project has no result {item_id}")
        stored, kind = self._pixels_of(value, role)
        name = value["series"]["name"] if value["$type"] == "Tomogram" else value.get("name", str(item_id))
        pixels = decode(stored, self.folder, FileOnly)
        how = "" if isinstance(pixels, FileOnly) else fingerprint(stored)
        return pixels, kind, f"{name} {role}", how

    def _pixels_of(self, value: Mapping[str, Any], role: str) -> tuple[Mapping[str, Any], Kind]:
        found: Any = value
        for part in role.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or not ("$pixels" in found or found.get("$type") in _COMPUTED):
            raise UserInputError(f"this result has no image {role!r}")
        return found, "volume" if value["$type"] != "TiltSeries" and "stack" not in role else "stack"


def image_roles(value: Item) -> tuple[str, ...]:
    """Roles of the images in a value, best first."""

    def is_there(role: str) -> bool:
        found: Any = value
        for part in role.split("."):
            found = getattr(found, part, None)
        return found is not None

    return tuple(role for role in _ROLES.get(type(value).__name__, ()) if is_there(role))
