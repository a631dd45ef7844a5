"""The engine's step context: devices, random numbers, new files and reports."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.program import Call
from cryoloom.contract.step import PROGRAMS_RECORD, JsonValue, PartFunction, ProgramOutput, Step
from cryoloom.engine.worker.gates import GatedSink, check_columns
from cryoloom.engine.worker.item_log import LOG_NAME, ItemLog
from cryoloom.engine.worker.kept_sections import GrowingSink, KeyedSink
from cryoloom.engine.worker.partial_results import PartialResults
from cryoloom.engine.worker.parts import OpenPool, PartMapper, serially
from cryoloom.engine.worker.program_calls import run_call
from cryoloom.engine.worker.programs import RunsPrograms
from cryoloom.engine.worker.resources import Resources
from cryoloom.errors import TransientError
from cryoloom.formats.exchange.parquet import write_parquet
from cryoloom.formats.pixels.movie import open_movie
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.formats.pixels.zarr import write_multiscale
from cryoloom.model import ArrayTable, KeyedPixels, Movie, MovieFrames, Table
from cryoloom.store.records import FileRecord

__all__ = ["EngineContext"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _NewTable(ArrayTable):
    """A table just made: read from memory until its file appears."""

    path: Path


@dataclass
class EngineContext(RunsPrograms):
    """The engine's `StepContext` for one item of one run. Files appear when `commit` is called, or never."""

    project: Path
    folder: Path
    """Folder of the item, inside the project."""
    device: str
    n_threads: int
    memory_bytes: int
    seed: int
    item_name: str = ""
    """Name of the item."""
    tell: Progress = lambda done, total: None
    upstream_figures: Mapping[str, float] = field(default_factory=dict)
    parts: PartialResults | None = None
    """Partial results of this item from the time it was growing."""
    grows: bool = False
    """Whether it is still growing."""
    n_expected: int = 0
    """Tilts that it will probably have; 0 where that is not known."""
    step: Step = field(kw_only=True)
    """The step that declares these figures and records."""
    upstream_not_measurable: Mapping[str, str] = field(default_factory=dict)
    look: Callable[[], None] = lambda: None
    """Raises StepInterrupted if the task is no longer wanted."""
    coordinator: str = ""
    open_pool: OpenPool | None = None
    """Pool for the parts of the step's work."""
    parts_at_once: int = 1
    log: ItemLog | None = None
    """Log to which warnings, figures and the output of programs are written as they come."""
    figures: dict[str, float] = field(default_factory=dict)
    reasons_not_measurable: dict[str, str] = field(default_factory=dict)
    """Why a figure could not be measured, by the figure's name."""
    records: dict[str, JsonValue] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _files: list[tuple[Path, Path]] = field(default_factory=list)
    """Further files: their paths while written, and their final names."""
    _made: list[tuple[GatedSink, MrcSink, float, bool]] = field(default_factory=list)

    @functools.cached_property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on the step and the item's name alone."""
        return np.random.default_rng(self.seed)

    def new_pixels(
        self,
        role: str,
        shape: tuple[int, ...],
        pixel_size_angstrom: float,
        *,
        kind: Literal["stack", "volume"] = "stack",
        dtype: Literal["float32", "float16"] = "float32",
        multiscale: bool = False,
    ) -> GatedSink:
        """Begin ``role.mrc`` in the item's folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{role}.mrc"
        sink = MrcSink(path, shape, pixel_size_angstrom, dtype, kind=kind)
        gated = GatedSink(role, sink, path, pixel_size_angstrom, sections_are_images=kind == "stack")
        self._made.append((gated, sink, pixel_size_angstrom, multiscale))
        return gated

    def keyed_pixels(
        self,
        role: str,
        shape: tuple[int, ...],
        pixel_size_angstrom: float,
        *,
        dtype: Literal["float32", "float16"],
        keys: Sequence[str | None],
        n_below: int = 0,
    ) -> KeyedPixels:
        """Begin ``role.mrc`` with what was kept of it; in the cache while the item grows."""
        kept = self._partial_results().sections(role)
        if self.grows:
            growing = GrowingSink(
                role,
                shape,
                pixel_size_angstrom,
                dtype,
                keys,
                kept,
                n_places=self.n_expected,
                first=n_below,
            )
            self._open.callback(growing.close)
            return growing
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{role}.mrc"
        gated, sink = KeyedSink.begun(role, path, shape, pixel_size_angstrom, dtype, keys, kept)
        self._made.append((gated, sink, pixel_size_angstrom, False))
        return gated

    def _partial_results(self) -> PartialResults:
        if self.parts is None:
            self.parts = PartialResults(self.project, self.step.name, self.step.version, self.item_name)
        return self.parts

    def partial_key(self, *facts: object) -> str:
        """Key of facts."""
        return self._partial_results().key(facts)

    def new_file(self, name: str) -> Path:
        """Begin ``name`` in the item's folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{name}.part"
        self._files.append((part, self.folder / name))
        return part

    def new_table(self, role: str, columns: Mapping[str, NDArray[Any]]) -> Table:
        """Write ``role.parquet`` in the item's folder; it can be read at once."""
        check_columns(role, columns)
        write_parquet(self.new_file(f"{role}.parquet"), columns)
        return _NewTable(dict(columns), path=self.folder / f"{role}.parquet")

    @property
    def _scratch_folder(self) -> Path:
        """With a name that `clear_leftovers` recognises."""
        return self.folder / ".scratch.part"

    def scratch(self) -> Path:
        """A folder for this item's own files, until `close`."""
        self._scratch_folder.mkdir(parents=True, exist_ok=True)
        return self._scratch_folder

    def program_log(self) -> ItemLog:
        """The item's log, or one in the scratch folder."""
        return self.log or ItemLog(self._scratch_folder / LOG_NAME, "")

    def call(self, call: Call, *, timeout_s: float | None = None) -> ProgramOutput:
        """Run a declared program in `scratch`, and keep which version it was."""
        output, found = run_call(
            call,
            folder=self.scratch(),
            log=self.program_log(),
            look=self.look,
            n_threads=self.n_threads,
            device=self.device,
            timeout_s=timeout_s,
        )
        kept = self.records.setdefault(PROGRAMS_RECORD.name, {})
        if isinstance(kept, dict):
            kept[found.program.name] = {
                "version": found.version or "unknown",
                "place": found.place,
                "reference": found.program.citation,
            }
        return output

    @functools.cached_property
    def _mapper(self) -> PartMapper:
        return PartMapper(
            project=self.project,
            what=f"{self.folder.parent.name} of {self.item_name}",
            seed=self.seed,
            scratch=self._scratch_folder,
            coordinator=self.coordinator,
            open_pool=self.open_pool or serially(Resources(self.device, self.n_threads, self.memory_bytes)),
            n_at_once=self.parts_at_once,
            look=self.look,
            warn=self.warn,
            log=self.log,
        )

    def imap(
        self, function: PartFunction, parts: Sequence[Any], *, progress: Progress | None = None
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Results of the parts, one after the other, in their order."""
        if self.step.bytes_per_part is None:
            raise RuntimeError(
                f"step {self.step.name} divides its work into parts and must declare the memory of one: "
                "add bytes_per_part to @step"
            )
        results = self._mapper.imap(function, parts, progress or self.progress)
        self._open.callback(results.close)
        return results

    def map(
        self, function: PartFunction, parts: Sequence[Any], *, progress: Progress | None = None
    ) -> list[dict[str, NDArray[Any]]]:
        """Results of the parts, in their order."""
        return list(self.imap(function, parts, progress=progress))

    def close(self) -> None:
        """Close everything, and remove the files of this task alone."""
        self._open.close()
        shutil.rmtree(self._scratch_folder, ignore_errors=True)

    def open_movie(self, movie: Movie) -> MovieFrames:
        """Open a movie."""
        return open_movie(movie)

    def load_partial(self, *facts: object) -> Mapping[str, NDArray[Any]] | None:
        """Arrays saved while this item was growing."""
        return None if self.parts is None else self.parts.find(facts)

    def save_partial(self, arrays: Mapping[str, NDArray[Any]], *facts: object) -> None:
        """Save arrays for the time when this item is complete."""
        if self.grows and self.parts is not None:
            self.parts.keep(arrays, facts)

    def checkpoint(self, arrays: Mapping[str, NDArray[Any]], *facts: object) -> None:
        """Save arrays until the item is recorded."""
        if self.parts is not None:
            self.parts.keep(arrays, facts)

    def progress(self, done: int, total: int) -> None:
        """Pass the progress on."""
        self.tell(done, total)

    def figure(self, name: str, value: float | None, *, reason: str = "") -> None:
        """Store a declared figure; a value that is not finite becomes not measurable."""
        if value is None or not math.isfinite(value):
            self.not_measurable(name, reason or f"the result is {'none' if value is None else value}")
            return
        self._require_declared("figure", name, {figure.name for figure in self.step.figures})
        self.reasons_not_measurable.pop(name, None)
        self.figures[name] = float(value)
        self._log(f"{name} = {value:.6g}")

    def not_measurable(self, name: str, reason: str) -> None:
        """Store why a declared figure has no value."""
        self._require_declared("figure", name, {figure.name for figure in self.step.figures})
        self.figures.pop(name, None)
        self.reasons_not_measurable[name] = reason
        self._log(f"{name} is not measurable: {reason}")

    def record(self, name: str, data: JsonValue) -> None:
        """Store declared curves and tables."""
        self._require_declared("record", name, {record.name for record in self.step.records})
        self.records[name] = data

    def _require_declared(self, kind: str, name: str, declared: set[str]) -> None:
        if name not in declared:
            raise ValueError(
                f"step {self.step.name} made the {kind} {name!r}, which it does not declare; expected one of "
                f"{', '.join(sorted(declared)) or 'none'}: add it to @step({kind}s=...)"
            )

    def warn(self, message: str) -> None:
        """Store a warning."""
        self.warnings.append(message)
        self._log(f"warning: {message}")

    def _log(self, line: str) -> None:
        if self.log is not None:
            self.log.line(line)

    def commit(self) -> tuple[FileRecord, ...]:
        """Check every new file, then give all of them their names."""
        for gated, _, _, _ in self._made:
            gated.check()
            if gated.sections_are_images and gated.constant_sections:
                sections = ", ".join(map(str, gated.constant_sections[:8]))
                self.warn(f"{gated.role}: every value of section {sections} is the same; it holds no image")
        files = []
        for gated, sink, voxel_size_angstrom, multiscale in self._made:
            path = gated.path
            sink.commit()
            files.append(self._file(gated.role, path))
            if multiscale:
                pyramid = path.with_suffix(".zarr")
                write_multiscale(MrcPixels(path), pyramid, voxel_size_angstrom)
                files.append(self._file(f"{gated.role}_zarr", pyramid))
        for part, path in self._files:
            os.replace(part, path)
            files.append(self._file(path.stem, path))
        if files:
            _flush_names(self.folder)
        self._made.clear()
        self._files.clear()
        return tuple(files)

    def clear_leftovers(self) -> None:
        """Remove unfinished files of a worker that was killed at this item."""
        for leftover in self.folder.glob(".*.part"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove everything of this item."""
        for _, sink, _, _ in self._made:
            sink.discard()
        for part, _ in self._files:
            part.unlink(missing_ok=True)
        self._made.clear()
        self._files.clear()

    def _file(self, role: str, path: Path) -> FileRecord:
        try:
            size = 0 if path.is_dir() else path.stat().st_size
        except OSError as error:
            raise TransientError(f"{path} vanished after it was written: {error}") from error
        return FileRecord(role, path.relative_to(self.project), size)


def _flush_names(folder: Path) -> None:
    """Write the names of new files to the disk, so that a power failure does not lose them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
