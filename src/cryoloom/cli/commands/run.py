"""Run one step on the results of a run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cryoloom.cli.group import LazyGroup, typer_app
from cryoloom.cli.options import JsonOption, ProjectOption, WorkerOptions, expanded
from cryoloom.cli.parameters import as_options, parse_settings, parsed_options
from cryoloom.contract import Step, find_step
from cryoloom.contract.discovery import step_summaries
from cryoloom.contract.step import kind_of

__all__ = ["command_of", "run"]


class StepGroup(LazyGroup):
    """One command per step, made from its declaration."""

    def summaries(self) -> Mapping[str, tuple[str, str | None]]:
        """Summaries of the steps, without importing them."""
        return {name: (summary, None) for name, summary in step_summaries().items()}

    def make(self, name: str) -> Any:
        """The command of a step."""
        return typer.main.get_command(command_of(find_step(name)))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; for an unknown step, suggest similar names."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            find_step(args[0])
        return super().resolve_command(ctx, args)


run = typer_app(cls=StepGroup, no_args_is_help=True, help="Run one step on the results of a run.", name="run")


@run.callback()
def _run() -> None:
    """Run one step on the results of a run."""


def command_of(step: Step) -> typer.Typer:
    """The command of a step: its parameters and further inputs are options."""

    def work(
        project: ProjectOption,
        workers: WorkerOptions,
        input: Annotated[str | None, typer.Option(help="Run to take items from: its number or name.")] = None,
        like: Annotated[
            str | None, typer.Option(help="Run whose inputs and parameters apply unless given here.")
        ] = None,
        settings: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="PARAMETER=VALUE", help="Change a parameter; can be repeated."),
        ] = None,
        item: Annotated[list[str] | None, typer.Option(help="Only this item; can be repeated.")] = None,
        json: JsonOption = False,
        **options: str | None,
    ) -> None:
        from cryoloom.cli.conclusion import conclude, listener_for, opened_or_made

        given = parse_settings([f"{step.name}.{text}" for text in settings or ()])
        values: dict[str, Any] = {**given.everywhere.get(step.name, {}), **parsed_options(options)}
        with opened_or_made(project, may_make=step.needs is None) as opened, listener_for(json) as listener:
            summary = opened.run(
                step.name,
                input=input,
                like=like,
                items=item or (),
                executor=workers.workplace(),
                listener=listener,
                **values,
            )
        conclude(opened, summary, json, made_by=opened.runs_of(step.name))

    command = expanded(work)
    fixed = [
        parameter
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != "options"
    ]
    taken = {parameter.name for parameter in fixed}
    roles = [
        inspect.Parameter(
            role,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, typer.Option(help=f"Run of a {kind_of(wanted).__name__} input.")
            ],
        )
        for role, wanted in step.also_needs.items()
    ]
    own = [option for option in as_options(step) if option.name not in taken]
    command.__signature__ = inspect.Signature([*fixed, *roles, *own])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*fixed, *roles, *own]}
    app = typer_app()
    app.command(step.name, help=step.description)(command)
    return app
