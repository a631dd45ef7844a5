"""Provenance of a file: every step from the raw movies to it, also for copies outside the project."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.reading import Reader
from cryoloom.store.records import ExportRecord, ItemRecord, RunRecord

if TYPE_CHECKING:
    from cryoloom.store.database import Database

__all__ = ["Origin", "origin_of_file", "record_export"]

_SMALL_BYTES = 16 << 20
"""Largest exported file that is identified by content; larger ones are links or copies of files here."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Provenance of a file."""

    path: Path
    how: str
    """A sentence: the run that made it, or how it was identified as a copy."""
    steps: tuple[tuple[RunRecord, ItemRecord], ...]
    """From the raw data to the file; if two sets were combined, both branches before they meet."""
    raw: tuple[Path, ...]
    """Raw files: movies, gain reference, defects, stacks."""

    def as_data(self, project: Path) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "file": str(self.path),
            "how": self.how,
            "steps": [_step_as_data(run, item, project) for run, item in self.steps],
            "raw": [str(path) for path in self.raw],
        }


def _step_as_data(run: RunRecord, item: ItemRecord, project: Path) -> dict[str, Any]:
    return {
        "run": run.id,
        "name": run.node,
        "step": run.step,
        "step_version": run.step_version,
        "item": item.name,
        "input_runs": list(run.input_run_ids),
        "parameters": dict(run.parameters),
        "started": item.started,
        "seconds": item.seconds,
        "device": item.device,
        "host": item.host,
        "environment": dict(run.environment),
        "figures": dict(item.figures),
        "not_measurable": dict(item.not_measurable),
        "files": {file.role: str(project / file.path) for file in item.files},
    }


def origin_of_file(database: Reader, folder: Path, path: str | Path) -> tuple[Origin, ...]:
    """Origins of a file: one, or one for every series in an exported table.

    A file outside the project is identified by the record of its export, as a hard link, or by its content.
    Raises UserInputError for a file that none of these identifies.
    """
    path = Path(path).absolute()
    if not path.exists():
        raise UserInputError(f"there is no file {path}")
    inside = path.resolve()
    project = folder.resolve()
    if inside.is_relative_to(project):
        item = _item_of(database, inside.relative_to(project))
        if item is None:
            raise UserInputError(
                f"{path} was not made by a run of {folder}; files of runs lie in its folder runs/, and the "
                "report and the database contain all runs (`cryoloom log`)"
            )
        return (_origin(database, path, item, "made by"),)
    exported = database.exports_of(path)
    size = path.stat().st_size
    if exported and exported[0].bytes == size:
        return tuple(
            _origin(database, path, database.item(e.item_id), f"exported as {e.format} from")
            for e in exported
        )
    if path.is_file():
        found = _same_content(database, project, path, size)
        if found:
            return found
    raise UserInputError(
        f"{path} is not of the project {folder}: no run made it, it is not an export, and no file of the "
        "project has its content"
    )


def _item_of(database: Reader, inside: Path) -> ItemRecord | None:
    """The item that made a file, or the folder it lies in (an OME-Zarr is a folder)."""
    for candidate in (inside, *inside.parents):
        item = database.item_of_file(candidate)
        if item is not None:
            return item
    return None


def _same_content(database: Reader, folder: Path, path: Path, size: int) -> tuple[Origin, ...]:
    """Origins by hard link or by content; only files as long as this one are looked at."""
    digest = ""
    candidates = [(item_id, folder / file) for item_id, file in database.files_of_length(size)]
    for item_id, file in candidates:
        if file.is_file() and file.samefile(path):
            return (_origin(database, path, database.item(item_id), f"a hard link to {file.name}, made by"),)
    for item_id, file in candidates:
        if file.is_file():
            digest = digest or _sha256(path)
            if _sha256(file) == digest:
                return (_origin(database, path, database.item(item_id), f"a copy of {file.name}, made by"),)
    if size <= _SMALL_BYTES:
        exported = database.exports_with(size, digest or _sha256(path))
        return tuple(
            _origin(
                database, path, database.item(e.item_id), f"a copy of {e.path}, exported as {e.format} from"
            )
            for e in exported
        )
    return ()


def _origin(database: Reader, path: Path, item: ItemRecord, how: str) -> Origin:
    runs = {run.id: run for run in database.runs()}
    by_id = {made.id: made for made in (*database.ancestors(item), item)}
    steps: dict[int, tuple[RunRecord, ItemRecord]] = {}

    def visit(made: ItemRecord) -> None:
        for source in made.input_ids:
            if source in by_id and source not in steps:
                visit(by_id[source])
        steps[made.id or 0] = (runs[made.run_id], made)

    visit(item)
    run = runs[item.run_id]
    sources = [made.id for _, made in steps.values() if not made.input_ids and made.id is not None]
    raw = [file for source in sources for file in _raw_files(database.item(source).value)]
    return Origin(
        path,
        f"{how} run {run.id} ({run.node}), {item.name}",
        tuple(steps.values()),
        tuple(dict.fromkeys(raw)),
    )


def _raw_files(value: Any) -> Iterator[Path]:
    """Absolute paths in an encoded value: what lies outside the project. Paths inside it are relative."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("$path", "$pixels") and Path(inner).is_absolute():
                yield Path(inner)
            else:
                yield from _raw_files(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _raw_files(inner)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_export(
    database: Database, format: str, items: Sequence[ItemRecord], files: Iterable[Path], directory: Path
) -> None:
    """Record which file was exported from which items: those its path names, or all of them."""
    now = datetime.now(UTC)
    records = []
    for file in files:
        path = file.absolute()
        try:
            size = path.stat().st_size
            digest = _sha256(path) if path.is_file() and size <= _SMALL_BYTES else ""
        except OSError as error:
            raise TransientError(f"the exported file {path} cannot be read: {error.strerror}") from error
        inside = path.is_relative_to(directory.absolute())
        parts = path.relative_to(directory.absolute()).parts if inside else ()
        named = [item for item in items if any(_names(part, item.name) for part in parts)]
        records += [
            ExportRecord(item.id, format, path, size, digest, now)
            for item in named or items
            if item.id is not None
        ]
    database.add_exports(records)


def _names(part: str, item: str) -> bool:
    """Whether a part of a path names an item: the name alone or before other text."""
    rest = part.removeprefix(item)
    return rest != part and not rest[:1].isalnum()
