"""Parts of an item's work, made while the item was growing: arrays under a key, in the project's cache.

``cache/STEP/ITEM/KEY.npz`` appears by atomic rename. Parts only save time: one that is lost or damaged is
made again. They are removed when the item they belong to is recorded.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.engine.worker.durable_files import write_durably
from cryoloom.engine.worker.kept_sections import KeptSections
from cryoloom.errors import TransientError
from cryoloom.store.codec import encode, fingerprint

__all__ = ["PartialResults", "forget_partial_results"]

_FOLDER = "cache"


class PartialResults:
    """Parts that one step made of one item."""

    def __init__(self, project: Path, step: str, version: int, item: str) -> None:
        self._project = project
        self._folder = project / _FOLDER / step / item
        self._version = version

    def find(self, facts: tuple[object, ...]) -> Mapping[str, NDArray[Any]] | None:
        """Arrays kept under these facts, or None."""
        path = self._path(facts)
        try:
            with zipfile.ZipFile(path) as archive:
                names = tuple(name.removesuffix(".npy") for name in archive.namelist())
        except (FileNotFoundError, zipfile.BadZipFile):
            return None
        return _StoredArrays(path, names)

    def keep(self, arrays: Mapping[str, NDArray[Any]], facts: tuple[object, ...]) -> None:
        """Write arrays to the disk; they are available from then on, also after a power failure."""
        write_durably(self._path(facts), lambda file: np.savez(file, allow_pickle=False, **arrays))

    def key(self, facts: tuple[object, ...]) -> str:
        """Equal for equal facts of this step, and of the same files."""
        data = encode(list(facts), self._project)
        return fingerprint(self._version, data, sorted(_files_in(data, self._project)))

    def sections(self, role: str) -> KeptSections:
        """The stack of a role, as far as it is made."""
        return KeptSections(self._folder, role)

    def _path(self, facts: tuple[object, ...]) -> Path:
        return self._folder / f"{self.key(facts)}.npz"


class _StoredArrays(Mapping[str, NDArray[Any]]):
    """Arrays of a file, each read on access."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path, self._names = path, names

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                array: NDArray[Any] = stored[name]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise TransientError(
                f"{self._path} cannot be read ({error}); delete it and start again"
            ) from error
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def forget_partial_results(project: Path, step: str, item: str) -> None:
    """Remove the parts of an item, which is complete now."""
    shutil.rmtree(project / _FOLDER / step / item, ignore_errors=True)


def _files_in(data: Any, project: Path) -> Iterator[tuple[str, int, int]]:
    """Length and time of every file named in encoded data."""
    if isinstance(data, Mapping):
        if "$path" in data:
            status = (project / data["$path"]).stat()
            yield data["$path"], status.st_size, status.st_mtime_ns
        for value in data.values():
            yield from _files_in(value, project)
    elif isinstance(data, list):
        for value in data:
            yield from _files_in(value, project)
