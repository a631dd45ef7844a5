"""Options that several commands share; nothing here imports torch.

A group of options is a dataclass whose fields are annotated as Typer expects. A command takes the group as
one parameter, and `expanded` turns it into the options of the command line.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from cryoloom.errors import UserInputError
from cryoloom.store.names import FILE_NAME

if TYPE_CHECKING:
    from cryoloom.engine.executors.workplace import Workplace
    from cryoloom.engine.project import Project

__all__ = [
    "DiskOptions",
    "DryRunOption",
    "JsonOption",
    "NewProjectOption",
    "OptionGroup",
    "OptionalRunArgument",
    "ProjectOption",
    "RunArgument",
    "SeriesArgument",
    "SeriesFileOption",
    "SetOption",
    "SourceOptions",
    "TiltsArgument",
    "WorkerOptions",
    "expanded",
    "project_here",
]


def project_here() -> Path:
    """The project that the current folder is in. Raises UserInputError if it is in none."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise UserInputError(f"neither {here} nor a folder above it is a project; give one with --project FOLDER")


NewProjectOption = Annotated[
    Path, typer.Option("--project", "-p", help="Folder of the project; it is made if it does not exist.")
]
ProjectOption = Annotated[
    Path,
    typer.Option(
        "--project",
        "-p",
        help="Folder of the project.",
        default_factory=project_here,
        show_default="the project that the current folder is in",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line, for scripts.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only print existing results and the work that would be done.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[SERIES:]STEP.PARAMETER=VALUE",
        help="Change a parameter, of all series or of one; can be repeated.",
    ),
]
SeriesFileOption = Annotated[
    Path | None,
    typer.Option(
        "--set-series",
        metavar="FILE",
        help="YAML file with parameters of single series: TS_01: {step: {name: value}}.",
    ),
]
RunArgument = Annotated[str, typer.Argument(help="Number or name of a run; a name means its latest run.")]
OptionalRunArgument = Annotated[
    str | None, typer.Argument(help="Number or name of a run; a name means its latest run.")
]
TiltsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Acquisition indices, such as `3 5` or `0-5`; 0 is the first tilt acquired. Unset: the whole "
        "series."
    ),
]
SeriesArgument = Annotated[str, typer.Argument(help="Name of the tilt series.")]


@dataclass(frozen=True)
class OptionGroup:
    """A group of options: a base for dataclasses that `expanded` turns into options."""


@dataclass(frozen=True)
class WorkerOptions(OptionGroup):
    """Executor and device."""

    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto"
    executor: Annotated[
        str,
        typer.Option(
            "--executor",
            envvar="CRYOLOOM_EXECUTOR",
            help="Executor: local (processes on this machine), threads, slurm or dask:ADDRESS.",
        ),
    ] = "local"
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Items processed at a time here; if more than GPUs, these are shared."
        ),
    ] = None
    cluster: Annotated[
        Path | None,
        typer.Option("--cluster", help="YAML file with the resources of Slurm jobs, for --executor slurm."),
    ] = None
    share_gpus: Annotated[
        bool,
        typer.Option("--share-gpus", help="Workers of dask:ADDRESS that see the same GPU share it."),
    ] = False

    def workplace(self) -> Workplace:
        """The requested executor."""
        from cryoloom.engine.executors.workplace import Workplace

        return Workplace(self.executor, self.device, self.workers, self.cluster, self.share_gpus)


@dataclass(frozen=True)
class DiskOptions(OptionGroup):
    """Largest disk space of the project; the value is stored with the project."""

    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="[STEP=]LEVEL",
            help="Files that are kept of a finished series: results (tomograms, averages, tables), resumable "
            "(the sums of movies too) or everything. May be given again for single steps.",
        ),
    ] = None
    disk_budget: Annotated[
        str | None, typer.Option("--disk-budget", help="The most that the project may take, such as 500GB.")
    ] = None

    def apply(self, project: Project) -> None:
        """Store the given options with the project."""
        from cryoloom.cli.amounts import parse_size

        if self.keep is not None or self.disk_budget is not None:
            budget = None if self.disk_budget is None else parse_size(self.disk_budget)
            project.set_disk_policy(budget, self.keep)


@dataclass(frozen=True)
class SourceOptions(OptionGroup):
    """Properties of the raw data given by the user; they override the metadata, and both are stored."""

    gain: Annotated[Path | None, typer.Option("--gain", help="Gain reference of the movies.")] = None
    pixel_size: Annotated[
        float | None, typer.Option("--pixel-size", help="Angstrom; overrides the mdoc.")
    ] = None
    dose: Annotated[float | None, typer.Option("--dose", help="e/A^2 per tilt; overrides the mdoc.")] = None
    tilt_axis: Annotated[float | None, typer.Option("--tilt-axis", help="Degrees; overrides the mdoc.")] = (
        None
    )

    def parameters(self) -> dict[str, Any]:
        """As parameters of the source step; None means not given."""
        return {
            "gain": self.gain,
            "pixel_size_angstrom": self.pixel_size,
            "dose_per_tilt_per_angstrom2": self.dose,
            "tilt_axis_deg": self.tilt_axis,
        }


def expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with every `OptionGroup` parameter replaced by the options of the group."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[OptionGroup]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        kind = hints.get(parameter.name)
        if isinstance(kind, type) and issubclass(kind, OptionGroup):
            groups[parameter.name] = kind
            parameters += _options_of(kind)
        else:
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def call(**values: Any) -> Any:
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            values[name] = group(**{field: values.pop(field) for field in fields})
        return function(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del call.__wrapped__  # Typer would look at its signature
    return call


def _options_of(group: type[OptionGroup]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
