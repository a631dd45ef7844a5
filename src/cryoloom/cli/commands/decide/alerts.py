"""Alerts of a session that is watched."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cryoloom.cli.options import ProjectOption
from cryoloom.cli.terminal import say
from cryoloom.engine.live.alert_delivery import Message, deliver
from cryoloom.engine.live.alert_settings import (
    AlertSettings,
    alert_settings,
    changed_settings,
    keep_alert_settings,
)
from cryoloom.engine.live.alerts import alert_log
from cryoloom.engine.live.session_points import followed
from cryoloom.errors import UserInputError
from cryoloom.store.reading import ProjectReader

__all__ = ["alerts"]

_N_SAID = 10
"""Chosen: latest messages shown."""


def alerts(
    project: ProjectOption,
    limit: Annotated[
        list[str],
        typer.Option(help="FIGURE=LOW:HIGH, one side may be empty; FIGURE= takes it back. Can be repeated."),
    ] = [],  # noqa: B006 - Typer reads it and nothing changes it
    at_least: Annotated[
        int | None, typer.Option(help="Raise an alert when so many of the last series are beyond a limit.")
    ] = None,
    of_last: Annotated[int | None, typer.Option(help="Number of series that count as the last.")] = None,
    quiet_minutes: Annotated[
        float | None,
        typer.Option(help="Raise an alert if no new file arrived for this time; 0: never."),
    ] = None,
    mute: Annotated[
        list[str], typer.Option(help="Raise no alert of this figure, or of `failed` or `quiet`.")
    ] = [],  # noqa: B006
    unmute: Annotated[list[str], typer.Option(help="Raise its alerts again.")] = [],  # noqa: B006
    to_file: Annotated[str | None, typer.Option(help="Append alerts to this file; '' for none.")] = None,
    to_command: Annotated[
        str | None,
        typer.Option(help="Start this program, without a shell, with the text as its input; '' for none."),
    ] = None,
    to_web_hook: Annotated[
        str | None, typer.Option(help="Post alerts to this address as JSON; '' for none.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Send a test message everywhere, now.")] = False,
) -> None:
    """Set when a session raises an alert and where it goes, and list what was raised."""
    with ProjectReader(project):  # raises if this is not a project
        pass
    settings = alert_settings(project)
    changes: dict[str, Any] = {
        name: value for name, value in (("at_least", at_least), ("of_last", of_last)) if value is not None
    }
    if limit:
        changes["limits"] = _limits(settings, limit)
    if quiet_minutes is not None:
        changes["quiet_minutes"] = quiet_minutes or None
    if mute or unmute:
        changes["muted"] = tuple(
            name for name in dict.fromkeys((*settings.muted, *mute)) if name not in unmute
        )
    if to_file is not None:
        changes["file"] = Path(to_file).absolute() if to_file else None
    if to_command is not None:
        changes["command"] = tuple(shlex.split(to_command))
    if to_web_hook is not None:
        changes["web_hook"] = to_web_hook or None
    if changes:
        settings = changed_settings(settings, **changes)
        keep_alert_settings(project, settings)
    if test:
        _send_test(project, settings)
        return
    for line in _lines(project, settings):
        say(line)


def _limits(settings: AlertSettings, given: list[str]) -> dict[str, Any]:
    """Limits with those given on the command line."""
    limits: dict[str, Any] = {name: one.model_dump() for name, one in settings.limits.items()}
    for text in given:
        figure, equals, bounds = text.partition("=")
        low, colon, high = bounds.partition(":")
        if not equals or (bounds and not colon):
            raise UserInputError(
                f"--limit {text}: expected FIGURE=LOW:HIGH, such as motion_median_angstrom=:8"
            )
        limits.pop(figure, None)
        if bounds:
            try:
                limits[figure] = {"low": float(low) if low else None, "high": float(high) if high else None}
            except ValueError as error:
                raise UserInputError(
                    f"--limit {text}: {error}; expected numbers, such as {figure}=1:8"
                ) from error
    return limits


def _send_test(project: Path, settings: AlertSettings) -> None:
    if not settings.channels:
        raise UserInputError(
            "alerts go to the page only; give --to-file, --to-command or --to-web-hook to send them"
        )
    when = datetime.now(UTC).isoformat(timespec="seconds")
    message = Message(when, project.absolute().name, "test", "test", "a test of alerts; nothing is wrong")
    problems = {channel: deliver(channel, message, settings) for channel in settings.channels}
    for channel, problem in problems.items():
        say(f"{channel}: {problem or 'sent'}")
    if any(problems.values()):
        raise typer.Exit(1)


def _lines(project: Path, settings: AlertSettings) -> list[str]:
    """Settings, alerts in force and those raised last."""
    log = alert_log(project)
    rule = f"{settings.at_least} of the last {settings.of_last} series"
    lines = [f"an alert is raised when {rule} failed or are beyond a limit"]
    for figure, one in settings.limits.items():
        known = followed(figure)
        shown = [
            "" if bound is None or known is None else known.shown(bound) for bound in (one.low, one.high)
        ]
        lines.append(f"limit:   {figure} from {shown[0] or 'any'} to {shown[1] or 'any'}")
    if settings.quiet_minutes is not None:
        lines.append(f"quiet:   after {settings.quiet_minutes:g} minutes without anything new")
    if settings.muted:
        lines.append(f"muted:   {', '.join(settings.muted)}")
    lines.append(f"sent to: {', '.join(('the page', *settings.channels))}")
    for pending in log.outbox:
        why = f": {pending.error}" if pending.error else ""
        lines.append(f"waiting: {pending.message.text} (for the {pending.channel}{why})")
    lines += [f"now:     {alert.text}" for alert in log.active.values()]
    lines += [f"{one.when}  {one.text}" for one in log.said[-_N_SAID:]]
    return lines
