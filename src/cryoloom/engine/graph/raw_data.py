"""From a folder of raw data to the workflow that suits it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryoloom.contract import find_step
from cryoloom.engine.graph.workflow import Workflow, load_workflow
from cryoloom.errors import UserInputError

__all__ = ["plan_for_raw_data"]

_STACKS = (".mrc", ".st", ".mrcs", ".ali")


def plan_for_raw_data(raw: Path, workflow: str | None, told: Mapping[str, Any]) -> Workflow:
    """The workflow with its source set to ``raw`` and to what the user told (None: not told).

    Without a name: a folder with an mdoc or movies is processed from movies, a stack from itself.
    Raises UserInputError where ``raw`` does not exist or the source does not know what was told.
    """
    if not raw.exists():
        raise UserInputError(f"there is no folder or file {raw}")
    loaded = load_workflow(workflow or _suitable(raw))
    source = loaded.steps[0]
    known = find_step(source.step).params.model_fields
    values = {name: value for name, value in told.items() if value is not None}
    place = "stack" if "stack" in known else "directory"
    values[place] = raw.absolute()
    if "gain" in known and "gain" not in values and (found := _gain_beside(raw)):
        values["gain"] = found
    unknown = [name for name in values if name not in known]
    if unknown:
        raise UserInputError(f"{source.step} takes no {', '.join(unknown)}; leave that option out")
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return loaded.with_parameters({source.name: plain})


def _suitable(raw: Path) -> str:
    is_stack = raw.suffix in _STACKS if raw.is_dir() is False else not _has_movies(raw)
    return "tomogram_from_stack" if is_stack else "tomogram"


def _has_movies(folder: Path) -> bool:
    """Whether a folder looks like movies: an mdoc, TIFF or EER, or no angle files beside its stacks."""
    suffixes = {path.suffix.lower() for path in folder.iterdir()}
    return bool(suffixes & {".mdoc", ".tif", ".tiff", ".eer"}) or not suffixes & {".rawtlt", ".tlt"}


def _gain_beside(raw: Path) -> Path | None:
    """The one file of a folder that is called a gain reference, if there is exactly one."""
    if not raw.is_dir():
        return None
    kinds = {".mrc", ".tif", ".tiff", ".gain", ".dm4"}
    found = [p for p in raw.iterdir() if "gain" in p.name.lower() and p.suffix.lower() in kinds]
    return found[0].absolute() if len(found) == 1 else None
