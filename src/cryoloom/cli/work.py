"""Commands that do work: demo, process, run, resume, stop, exclude, include, simulate, export, report."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cryoloom.cli.dry_run import project_for_dry_run, show_dry_run
from cryoloom.cli.options import as_options, parse_settings, parsed_options
from cryoloom.cli.progress import BarListener, JsonListener
from cryoloom.contract import Step, all_steps
from cryoloom.contract.step import kind_of
from cryoloom.engine.coordinator.scheduler import Summary
from cryoloom.engine.demo import make_demo
from cryoloom.engine.executors.workplace import Workplace
from cryoloom.engine.graph.validation import validated
from cryoloom.engine.history.results import final_items
from cryoloom.engine.project import Project
from cryoloom.engine.reporting import report_path, write_project_report
from cryoloom.errors import UserInputError
from cryoloom.simulate.live import LivePlan, play_session
from cryoloom.simulate.session import SimulationParams, simulate_session

__all__ = [
    "ClusterOption",
    "DeviceOption",
    "ExecutorOption",
    "JsonOption",
    "ProjectOption",
    "SetOption",
    "ShareOption",
    "WorkersOption",
    "add_to",
    "conclude",
    "listener_for",
    "workflow_run",
]

ProjectOption = Annotated[Path, typer.Option("--project", "-p", help="Folder of the project.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        envvar="CRYOLOOM_EXECUTOR",
        help="Who works: local (processes of this machine), threads, slurm or dask:ADDRESS.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Items at a time on this machine; more than GPUs: they are shared."
    ),
]
ClusterOption = Annotated[
    Path | None,
    typer.Option("--cluster", help="YAML file of what Slurm jobs ask for, with --executor slurm."),
]
ShareOption = Annotated[
    bool, typer.Option("--share-gpus", help="Let workers of dask:ADDRESS that see the same GPU share it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of bars.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say what is there and what would be done.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.PARAMETER=VALUE", help="Change a parameter; may be given again."),
]

console = Console()


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (demo, process, resume, stop, exclude, include, simulate, export, report):
        app.command()(command)
    app.add_typer(_run_commands(), name="run", help="Run one step on the results of a run.")


def listener_for(json: bool) -> BarListener | JsonListener:
    """Bars for people, lines of JSON for scripts."""
    return JsonListener(console) if json else BarListener(console)


def demo(
    directory: Annotated[Path, typer.Argument(help="Folder to make.")] = Path("demo"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Simulate raw movies of a specimen, process them, and say where the tomogram and the report are."""
    with listener_for(json) as listener:
        project, summary = make_demo(directory, listener=listener, device=device, say=_teller(json))
    conclude(project, summary, json)


def process(
    raw: Annotated[Path, typer.Argument(help="Folder of movies and mdocs, or a tilt series stack.")],
    project: ProjectOption,
    workflow: Annotated[
        str | None, typer.Option(help="A shipped workflow or a .yaml file; by default what suits RAW.")
    ] = None,
    settings: SetOption = None,
    gain: Annotated[Path | None, typer.Option(help="Gain reference of the movies.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Angstrom; overrides the mdoc.")] = None,
    dose: Annotated[float | None, typer.Option(help="e/A^2 per tilt; overrides the mdoc.")] = None,
    tilt_axis: Annotated[float | None, typer.Option(help="Degrees; overrides the mdoc.")] = None,
    device: DeviceOption = "auto",
    executor: ExecutorOption = "local",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    share_gpus: ShareOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Turn raw data into tomograms and a report. Run it again to go on, or with other parameters."""
    if not raw.exists():
        raise UserInputError(f"there is no folder or file {raw}")
    parameters = parse_settings(settings or ())
    told: dict[str, Any] = {
        "gain": gain,
        "pixel_size_angstrom": pixel_size,
        "dose_per_tilt_per_angstrom2": dose,
        "tilt_axis_deg": tilt_axis,
    }
    if dry_run:
        with project_for_dry_run(project) as opened:
            show_dry_run(opened.dry_run(workflow, raw=raw, parameters=parameters, **told), json)
        return
    opened = Project.open(project, create=True)
    with listener_for(json) as listener:
        workplace = Workplace(executor, device, workers, cluster, share_gpus)
        summary = opened.process(
            raw, workflow=workflow, parameters=parameters, executor=workplace, listener=listener, **told
        )
    conclude(opened, summary, json)


def workflow_run(
    workflow: Annotated[str, typer.Argument(help="A shipped workflow or a .yaml file.")],
    project: ProjectOption,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    executor: ExecutorOption = "local",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    share_gpus: ShareOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Run a workflow that says itself where its raw data are (or --set it)."""
    parameters = parse_settings(settings or ())
    if dry_run:
        with project_for_dry_run(project) as opened:
            show_dry_run(opened.dry_run(workflow, parameters=parameters), json)
        return
    opened = Project.open(project, create=True)
    with listener_for(json) as listener:
        summary = opened.run_workflow(
            workflow,
            parameters=parameters,
            executor=Workplace(executor, device, workers, cluster, share_gpus),
            listener=listener,
        )
    conclude(opened, summary, json)


def resume(
    project: ProjectOption,
    device: DeviceOption = "auto",
    executor: ExecutorOption = "local",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    share_gpus: ShareOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Go on after a crash, a stop or a mended cause: unfinished and failed items only."""
    opened = Project.open(project)
    if dry_run:
        show_dry_run(opened.dry_run(), json)
        return
    with listener_for(json) as listener:
        workplace = Workplace(executor, device, workers, cluster, share_gpus)
        summary = opened.resume(executor=workplace, listener=listener)
    conclude(opened, summary, json)


def stop(project: ProjectOption) -> None:
    """Ask the process that works on a project to stop; what is finished stays."""
    Project.open(project).stop()
    console.print("asked to stop; go on with `cryoloom resume`")


def exclude(
    project: ProjectOption,
    series: Annotated[str, typer.Argument(help="Name of the tilt series.")],
    tilts: Annotated[list[int], typer.Argument(help="Acquisition indices; 0 is the first exposure.")],
    reason: Annotated[str, typer.Option(help="Kept with the tilt and shown in the report.")] = "by hand",
) -> None:
    """Leave tilts out, whatever a step finds; `resume` then redoes what depends on them."""
    Project.open(project).exclude(series, tilts, reason)
    console.print(f"{series}: {len(tilts)} tilts left out; `cryoloom resume` redoes what depends on them")


def include(
    project: ProjectOption,
    series: Annotated[str, typer.Argument(help="Name of the tilt series.")],
    tilts: Annotated[list[int], typer.Argument(help="Acquisition indices; 0 is the first exposure.")],
) -> None:
    """Keep tilts, whatever a step finds; `resume` then redoes what depends on them."""
    Project.open(project).include(series, tilts)
    console.print(f"{series}: {len(tilts)} tilts kept; `cryoloom resume` redoes what depends on them")


def simulate(
    directory: Annotated[Path, typer.Argument(help="New folder for movies, gain, mdoc and truth.json.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PARAMETER=VALUE", help="May be given again."),
    ] = None,
    show_parameters: Annotated[bool, typer.Option(help="List what can be set, and stop.")] = False,
    live: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Let them come as from a microscope, a tilt each SECONDS."
        ),
    ] = None,
) -> None:
    """Make raw movies whose truth is known."""
    if show_parameters:
        for name, field in SimulationParams.model_fields.items():
            console.print(f"[bold]{name}[/] = {field.default!r}: {field.description}", highlight=False)
        return
    if directory.exists() and any(directory.iterdir()):
        raise UserInputError(f"{directory} is not empty; a simulation needs a folder of its own")
    changes = parse_settings([f"simulation.{text}" for text in settings or ()]).get("simulation", {})
    params = validated(SimulationParams, changes, "simulation")
    if live is None:
        simulate_session(params, directory)
    else:
        with tempfile.TemporaryDirectory() as made:
            simulate_session(params, Path(made))
            console.print(f"a tilt every {live:g} s now comes to {directory}")
            play_session(Path(made), directory, LivePlan(live))
    console.print(f"raw movies and truth.json are in {directory}")


def export(
    project: ProjectOption,
    format: Annotated[str, typer.Option("--format", help="relion5, imod, aretomo or warp.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    copy: Annotated[bool, typer.Option(help="Copy images instead of hard-linking them.")] = False,
) -> None:
    """Write series and tomograms as another program reads them; every file named in them is re-opened."""
    files = Project.open(project).export(format, to, link=not copy)  # type: ignore[arg-type]  # checked there
    console.print(f"{len(files)} files in {to}, checked")


def report(project: ProjectOption) -> None:
    """Write the report again from what is recorded."""
    console.print(f"report: {write_project_report(Project.open(project))}")


def _run_commands() -> typer.Typer:
    """One sub-command for every step, made from its declaration."""
    commands = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    for step in all_steps().values():
        commands.command(name=step.name, help=step.description)(_run_command(step))
    return commands


def _run_command(step: Step) -> Callable[..., None]:
    def run(
        project: Path,
        input: str | None = None,
        like: str | None = None,
        settings: list[str] | None = None,
        item: list[str] | None = None,
        device: str = "auto",
        executor: str = "local",
        workers: int | None = None,
        cluster: Path | None = None,
        share_gpus: bool = False,
        json: bool = False,
        **options: str | None,
    ) -> None:
        opened = Project.open(project, create=step.needs is None)
        told = parse_settings([f"{step.name}.{text}" for text in settings or ()])
        values: dict[str, Any] = {**told.get(step.name, {}), **parsed_options(options)}
        with listener_for(json) as listener:
            summary = opened.run(
                step.name,
                input=input,
                like=like,
                items=item or (),
                executor=Workplace(executor, device, workers, cluster, share_gpus),
                listener=listener,
                **values,
            )
        conclude(opened, summary, json)

    fixed = [
        _parameter("project", ProjectOption, inspect.Parameter.empty),
        _parameter(
            "input",
            Annotated[str | None, typer.Option(help="Run to take items from: its number or name.")],
            None,
        ),
        _parameter(
            "like",
            Annotated[
                str | None, typer.Option(help="Run whose inputs and parameters hold where not told here.")
            ],
            None,
        ),
        _parameter(
            "settings",
            Annotated[
                list[str] | None,
                typer.Option("--set", metavar="PARAMETER=VALUE", help="Change a parameter; may be repeated."),
            ],
            None,
        ),
        *(
            _parameter(
                role,
                Annotated[str | None, typer.Option(help=f"Run of a {kind_of(wanted).__name__} input.")],
                None,
            )
            for role, wanted in step.also_needs.items()
        ),
        _parameter(
            "item", Annotated[list[str] | None, typer.Option(help="Only this item; may be repeated.")], None
        ),
        _parameter("device", DeviceOption, "auto"),
        _parameter("executor", ExecutorOption, "local"),
        _parameter("workers", WorkersOption, None),
        _parameter("cluster", ClusterOption, None),
        _parameter("share_gpus", ShareOption, False),
        _parameter("json", JsonOption, False),
    ]
    taken = {parameter.name for parameter in fixed}
    options = [option for option in as_options(step) if option.name not in taken]
    run.__signature__ = inspect.Signature([*fixed, *options])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*fixed, *options]}
    return run


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _teller(json: bool) -> Callable[[str], None]:
    return (lambda text: None) if json else (lambda text: console.print(text, highlight=False))


def conclude(project: Project, summary: Summary, json: bool, again: str = "`cryoloom resume`") -> None:
    """Write the report, say where the results are, and fail where an item failed."""
    write_project_report(project)
    if not json:
        final = {(item.run_id, item.name) for item in final_items(project.database)}
        for result in project.results():
            if (result.run, result.item) in final and "tomogram" in result.files:
                console.print(f"tomogram: {result.files['tomogram']}", soft_wrap=True, highlight=False)
        console.print(f"report:   {report_path(project)}", soft_wrap=True, highlight=False)
        if summary.stopped:
            console.print(f"stopped; go on with {again}")
        elif summary.failed:
            console.print(
                f"{len(summary.failed)} failed, {summary.n_done} done; mend the cause, then `cryoloom resume`"
            )
    if summary.failed or summary.stopped:
        raise typer.Exit(1)
