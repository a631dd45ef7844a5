"""Find a session's mdoc files in or near the folder that a user names, and report the searched places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryoloom.formats.session.movie_folder import walk_files

__all__ = ["FoundFiles", "files_near", "find_mdocs"]

_LEVELS_ABOVE = 2
"""Chosen: mdocs lie beside the folder of frames or beside its parent."""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files found, and the searched places in words."""

    paths: tuple[Path, ...]
    searched: str
    note: str = ""
    """Note that the files lie in another place than the user named; "" if they do not."""
    is_beside: bool = False
    """True if they lie in another branch of folders: they may be of another session too."""


def find_mdocs(folder: Path, pattern: str = "*.mdoc") -> FoundFiles:
    """The mdocs of a folder, else those below it, else those of the folders beside it and above it.

    RELION keeps ``mdoc/`` beside ``frames/``; facilities keep both some folders down. The nearest ones count.
    """
    own = _files(folder.glob(pattern))
    if own or "/" in pattern or "**" in pattern:
        return FoundFiles(own, str(folder))
    below = tuple(sorted(p for p in walk_files(folder) if p.match(pattern)))
    if below:
        return FoundFiles(below, f"{folder} and below", _where(below, "below", folder))
    for above in list(folder.parents)[:_LEVELS_ABOVE]:
        if above == Path(above.anchor):
            break
        beside = _files(
            path for place in (above, *_folders_of(above, folder)) for path in place.glob(pattern)
        )
        if beside:
            note = _where(beside, "beside or above", folder)
            return FoundFiles(beside, f"{folder}, below it, and {above}", note, is_beside=True)
    return FoundFiles((), f"{folder}, below it, and beside and above it up to {_LEVELS_ABOVE} folders")


def _folders_of(above: Path, other_than: Path) -> list[Path]:
    """Folders of ``above``, links to folders too, without the one that is known already."""
    try:
        return sorted(
            path for path in above.iterdir() if path.name[0] != "." and path != other_than and path.is_dir()
        )
    except OSError:
        return []


def files_near(folder: Path) -> list[Path]:
    """Files in the folder above, in the folders beside this one, and one level below those.

    Not deeper: the folder above may hold a year's sessions.
    """
    beside = _folders_of(folder.parent, folder)
    places = [folder.parent, *beside, *(below for near in beside for below in _folders_of(near, folder))]
    return [path for place in places for path in place.glob("*") if path.name[0] != "." and path.is_file()]


def _files(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(sorted(path for path in paths if path.is_file()))


def _where(paths: tuple[Path, ...], how: str, folder: Path) -> str:
    places = sorted({str(path.parent) for path in paths})
    shown = ", ".join(places[:3]) + (" and others" if len(places) > 3 else "")
    return f"the mdocs are {how} {folder}: {shown}"
