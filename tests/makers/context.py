"""A step context in memory: steps are tested without the engine."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.parts import PartContext
from cryoloom.engine.worker.program_calls import run_call
from cryoloom.engine.worker.programs import run_program
from cryoloom.model import ArrayTable, Movie, MovieFrames


class MemoryKeyedPixels(np.ndarray):
    """A stack whose sections are kept by their keys, as `StepContext.keyed_pixels` has it."""

    @classmethod
    def begun(cls, shape, keys, kept, grows):
        pixels = np.full(shape, np.nan, dtype=np.float32).view(cls)
        pixels.kept, pixels.grows, pixels.held = kept, grows, set()
        for section, key in enumerate(keys):
            if key in kept:
                pixels[section] = kept[key]
                pixels.held.add(section)
        return pixels

    def holds(self, section):
        return section in self.held

    def place(self, section):
        return section

    def keep(self, section, key):
        if self.grows:
            self.kept[key] = np.array(self[section])


@dataclass
class MemoryContext:
    """Keeps what a step makes and says, as plain attributes to assert on."""

    device: str = "cpu"
    item_name: str = "all"
    n_threads: int = 2
    memory_bytes: int = 4 << 30
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    movies: dict[str, MovieFrames] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    tables: dict[str, ArrayTable] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    upstream_figures: dict[str, float] = field(default_factory=dict)
    upstream_not_measurable: dict[str, str] = field(default_factory=dict)
    reasons_not_measurable: dict[str, str] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    kept: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    grows: bool = False
    n_expected: int = 0
    kept_sections: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    scratch_folder: Path | None = None
    opened: list[str] = field(default_factory=list)
    last_progress: tuple[int, int] | None = None

    def new_pixels(
        self, role, shape, pixel_size_angstrom, *, kind="stack", dtype="float32", multiscale=False
    ):
        self.kinds[role], self.dtypes[role] = kind, dtype
        self.pixels[role] = np.full(shape, np.nan, dtype=np.float32)  # files are read as float32, too
        return self.pixels[role]

    def keyed_pixels(self, role, shape, pixel_size_angstrom, *, dtype, keys, n_below=0):
        kept = self.kept_sections.setdefault(role, {})
        self.kinds[role], self.dtypes[role] = "stack", dtype
        self.pixels[role] = MemoryKeyedPixels.begun(shape, keys, kept, self.grows)
        return self.pixels[role]

    def partial_key(self, *facts):
        return repr(facts)

    def new_file(self, name):
        self.files[name] = Path(tempfile.mkdtemp()) / name
        return self.files[name]

    def new_table(self, role, columns):
        self.tables[role] = ArrayTable({name: np.array(values) for name, values in columns.items()})
        return self.tables[role]

    def map(self, function, parts, *, progress=None):
        return list(self.imap(function, parts, progress=progress))

    def imap(self, function, parts, *, progress=None):
        for i, part in enumerate(parts):
            context = PartContext(
                device=self.device,
                n_threads=self.n_threads,
                memory_bytes=self.memory_bytes,
                rng=np.random.default_rng((1, i)),
                look=lambda: None,
                folder=self.scratch() / f"part_{i}",
                warnings=self.warnings,
            )
            yield {name: np.asarray(values) for name, values in function(part, context).items()}
            (progress or self.progress)(i + 1, len(parts))

    def run(self, command, *, timeout_s=None, environment=None, stdin=""):
        return run_program(
            command,
            folder=self.scratch(),
            log=ItemLog(self.scratch() / "log.txt", ""),
            look=lambda: None,
            n_threads=self.n_threads,
            timeout_s=timeout_s,
            environment=environment,
            stdin=stdin,
        )

    def call(self, call, *, timeout_s=None):
        output, found = run_call(
            call,
            folder=self.scratch(),
            log=ItemLog(self.scratch() / "log.txt", ""),
            look=lambda: None,
            n_threads=self.n_threads,
            device=self.device,
            timeout_s=timeout_s,
        )
        self.records.setdefault("programs", {})[found.program.name] = {"version": found.version}
        return output

    def scratch(self):
        if self.scratch_folder is None:
            self.scratch_folder = Path(tempfile.mkdtemp())
        return self.scratch_folder

    def open_movie(self, movie: Movie) -> MovieFrames:
        self.opened.append(movie.path.name)
        if str(movie.path) in self.movies:
            return self.movies[str(movie.path)]
        from cryoloom.formats.pixels.movie import open_movie

        return open_movie(movie)

    def load_partial(self, *facts):
        return self.kept.get(repr(facts))

    def save_partial(self, arrays, *facts):
        if self.grows:
            self.kept[repr(facts)] = {name: np.array(array) for name, array in arrays.items()}

    def checkpoint(self, arrays, *facts):
        self.kept[repr(facts)] = {name: np.array(array) for name, array in arrays.items()}

    def progress(self, done: int, total: int) -> None:
        self.last_progress = (done, total)

    def figure(self, name: str, value: float | None, *, reason: str = "") -> None:
        if value is None or not np.isfinite(value):
            self.not_measurable(name, reason or f"the result is {value}")
        else:
            self.figures[name] = float(value)

    def not_measurable(self, name: str, reason: str) -> None:
        self.figures.pop(name, None)
        self.reasons_not_measurable[name] = reason

    def record(self, name: str, data: Any) -> None:
        self.records[name] = data

    def warn(self, message: str) -> None:
        self.warnings.append(message)
