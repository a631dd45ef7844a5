"""Paths that the browser may use: only those below folders given at start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryoloom.errors import UserInputError

__all__ = ["Roots"]


@dataclass(frozen=True)
class Roots:
    """Folders below which paths are allowed."""

    folders: tuple[Path, ...]

    def checked(self, text: str) -> Path:
        """The path with links resolved. Raises UserInputError if it is not allowed or does not exist."""
        allowed = ", ".join(str(folder) for folder in self.folders)
        if "\0" in text or not text:
            raise UserInputError(f"this is not a path; expected one below {allowed}")
        path = Path(text)
        if any(part.startswith(".") for part in path.parts if part != "/"):
            raise UserInputError(f"hidden folders and .. are not allowed; expected a path below {allowed}")
        base = self.folders[0] if self.folders else Path.cwd()
        resolved = (path if path.is_absolute() else base / path).resolve()
        if not self.holds(resolved):
            raise UserInputError(
                f"{text} is outside of {allowed}; start the server with --root FOLDER for more"
            )
        if not resolved.exists():
            raise UserInputError(f"{text} does not exist")
        return resolved

    def holds(self, path: Path) -> bool:
        """Whether a path with links resolved is below one of the folders."""
        resolved = path.resolve()
        return any(resolved.is_relative_to(folder.resolve()) for folder in self.folders)

    def listed(self, text: str) -> tuple[Path, list[Path], int]:
        """A folder's path, the folders in it, and the number of files. Raises UserInputError as `checked`."""
        path = self.checked(text) if text else self.folders[0].resolve()
        if not path.is_dir():
            raise UserInputError(f"{text} is not a folder")
        try:
            entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        except OSError as error:
            raise UserInputError(f"{text} cannot be read: {error.strerror}") from error
        folders = sorted(entry for entry in entries if entry.is_dir() and not entry.is_symlink())
        return path, folders, len(entries) - len(folders)

    def listing(self, text: str) -> dict[str, Any]:
        """Result of `listed` as data for the dialog that chooses a folder."""
        path, folders, n_files = self.listed(text)
        return {"path": str(path), "folders": [str(folder) for folder in folders], "n_files": n_files}
