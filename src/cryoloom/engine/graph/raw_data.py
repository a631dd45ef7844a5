"""From a folder of raw data to the workflow for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryoloom.contract import find_step
from cryoloom.engine.graph.workflow import Workflow, load_workflow
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.session.mdoc import read_mdoc
from cryoloom.formats.session.movie_folder import MovieFolder

__all__ = ["plan_for_raw_data"]

_STACKS = (".mrc", ".st", ".mrcs", ".ali")
_MOVIES = {".tif", ".tiff", ".eer"}


def plan_for_raw_data(raw: Path, workflow: str | None, given_values: Mapping[str, Any]) -> Workflow:
    """The workflow with its source set to ``raw`` and to the user's values (None: not given).

    Without a name: a folder with movies, or one mdoc, is processed from movies, stacks from themselves.
    Raises UserInputError if ``raw`` does not exist or the source does not have a given parameter.
    """
    if not raw.exists():
        raise UserInputError(f"there is no folder or file {raw}; correct the path")
    loaded = load_workflow(workflow or _suitable(raw))
    source = loaded.steps[0]
    known = find_step(source.step).params.model_fields
    values = {name: value for name, value in given_values.items() if value is not None}
    place = "stack" if "stack" in known else "directory"
    values[place] = raw.absolute()
    if raw.suffix.lower() == ".mdoc" and "mdoc" in known:
        values |= {"directory": raw.absolute().parent, "mdoc": raw.name}
    if "gain" in known and "gain" not in values and (found := _gain_beside(raw)):
        values["gain"] = found
    values = _moved_with(source.parameters, place, raw.absolute()) | values
    unknown = [name for name in values if name not in known]
    if unknown:
        raise UserInputError(f"{source.step} takes no {', '.join(unknown)}; leave that option out")
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return loaded.with_parameters({source.name: plain})


def _moved_with(parameters: Mapping[str, Any], place: str, raw: Path) -> dict[str, Path]:
    """Files that the workflow has inside its folder of raw data and that are not there: those of ``raw``."""
    folder = Path(str(parameters.get(place) or "."))
    moved = {}
    for name, value in parameters.items():
        given = Path(value) if isinstance(value, str) and name != place else folder
        if folder in given.parents and not given.exists():
            moved[name] = raw / given.relative_to(folder)
    return {} if folder == Path() else moved


def _suitable(raw: Path) -> str:
    if raw.is_dir():
        return "tomogram" if _has_movies(raw) else "tomogram_from_stack"
    if raw.suffix.lower() in _STACKS:
        return "tomogram_from_stack"
    if raw.suffix.lower() == ".mdoc":
        return "tomogram"
    raise UserInputError(
        f"{raw} is neither a folder nor a stack ({', '.join(_STACKS)}); give the folder of the movies and "
        "mdocs, or a stack"
    )


def _has_movies(folder: Path) -> bool:
    """Whether a folder is processed from movies: by its mdocs, else by the kinds of files in it.

    An mdoc next to a stack of its name describes that stack if its movies are missing: SerialEM writes
    one for every stack, and names movies in it only where it saved any.
    """
    mdocs = [path for path in folder.iterdir() if path.suffix.lower() == ".mdoc"]
    if mdocs:
        stacks = [mdoc for mdoc in mdocs if _describes_a_stack(mdoc)]
        if not stacks:
            return True
        movies = MovieFolder([folder])
        return any(_names_movies(mdoc, movies) for mdoc in mdocs)
    suffixes = {path.suffix.lower() for path in folder.iterdir()}
    return bool(suffixes & _MOVIES) or not suffixes & {".rawtlt", ".tlt"}


def _describes_a_stack(mdoc: Path) -> bool:
    """Whether the stack that an mdoc is named after is in the same folder."""
    stem = mdoc.name[: -len(".mdoc")]
    names = [stem, *(stem + suffix for suffix in _STACKS)]
    return any(
        (mdoc.parent / name).suffix.lower() in _STACKS and (mdoc.parent / name).is_file() for name in names
    )


def _names_movies(mdoc: Path, movies: MovieFolder) -> bool:
    """Whether any movie of an mdoc exists; false for one that cannot be read."""
    try:
        sections = read_mdoc(mdoc).sections
    except DataUnfitError:
        return False
    return any(section.movie_name and movies.holds(section.movie_name) for section in sections)


def _gain_beside(raw: Path) -> Path | None:
    """The one file of a folder whose name says gain reference, if there is exactly one."""
    if not raw.is_dir():
        return None
    kinds = {".mrc", ".tif", ".tiff", ".gain", ".dm4"}
    found = [p for p in raw.iterdir() if "gain" in p.name.lower() and p.suffix.lower() in kinds]
    return found[0].absolute() if len(found) == 1 else None
