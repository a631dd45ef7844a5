"""Alerts of a session: judged from what is recorded, kept in a small file, delivered until they arrive.

One thread of one process a project does it: that of `watch` or of `serve`, whichever took the lock first. It
writes to nothing that processing writes to, and no delivery is waited for by anything but the thread itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from cryoloom.engine.live.alert_delivery import Message, deliver
from cryoloom.engine.live.alert_settings import AlertSettings, Limit, alert_settings
from cryoloom.engine.live.session_points import (
    FOLLOWED,
    Followed,
    SeriesPoint,
    session_points,
    usual_limits,
)
from cryoloom.engine.live.watch_status import last_news
from cryoloom.errors import CryoloomError
from cryoloom.store.current import current_state
from cryoloom.store.names import FILE_NAME
from cryoloom.store.private_file import write_private
from cryoloom.store.reading import ProjectReader

__all__ = [
    "FAILED",
    "QUIET",
    "Alert",
    "AlertLog",
    "AlertWatch",
    "Pending",
    "alert_log",
    "alerts_changed",
    "alerts_of",
    "delivered",
    "judged",
    "keep_alert_log",
    "limit_of",
]

FAILED, QUIET = "failed", "quiet"
_STATE_NAME, _LOCK_NAME = "alerts_state.json", ".alerts"
#: Chosen: values of a session from which its own limits raise an alert; the spread of fewer is uncertain.
_LEAST_POINTS = 8
_MOST_LOGGED = 100
"""Chosen: messages kept, some days of a session."""
_LOOK_SECONDS = 5.0
"""Chosen: seconds between two judgements."""
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 5.0, 600.0
"""Chosen: the pause doubles from the first to the longest."""
_GIVE_UP_SECONDS = 86_400.0
"""Chosen: a message that is a day old is not an alert any more."""
_SHARE_OF_TIME = 20  # of a large project: judging takes at most a twentieth of the time


@dataclass(frozen=True, slots=True)
class Alert:
    """Current alerts."""

    subject: str
    """A figure, ``failed`` or ``quiet``; there is one alert a subject at a time."""
    text: str
    series: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that did not arrive yet."""

    channel: str
    message: Message
    since: float
    tries: int = 0
    next_try: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class AlertLog:
    """Alerts as they are kept: those in force, the last messages, and those not delivered yet."""

    active: Mapping[str, Alert] = field(default_factory=dict)
    said: tuple[Message, ...] = ()
    """The newest last."""
    outbox: tuple[Pending, ...] = ()


def limit_of(figure: str, points: Sequence[SeriesPoint], settings: AlertSettings) -> Limit | None:
    """Limits of a figure: those that were set, else the usual ones of the session; None if not known yet."""
    if figure in settings.limits:
        return settings.limits[figure]
    usual = usual_limits([point.figures.get(figure) for point in points])
    return None if usual is None else Limit(low=usual[0], high=usual[1])


def alerts_of(
    points: Sequence[SeriesPoint], settings: AlertSettings, quiet_minutes: float | None = None
) -> tuple[Alert, ...]:
    """Alerts in force.

    points : series, the newest last. quiet_minutes : since something new came; None if that is not known.
    """
    found = [_figure_alert(one, points, settings) for one in FOLLOWED if one.figure not in settings.muted]
    if FAILED not in settings.muted:
        last = points[-settings.of_last :]
        failed = [point for point in last if point.failed_in is not None]
        if len(failed) >= settings.at_least:
            names = ", ".join(f"{point.name} in {point.failed_in}" for point in failed)
            text = f"{len(failed)} of the last {len(last)} series failed: {names}"
            found.append(Alert(FAILED, text, tuple(point.name for point in failed)))
    if settings.quiet_minutes is not None and quiet_minutes is not None and QUIET not in settings.muted:
        if quiet_minutes >= settings.quiet_minutes:
            # The limit and not the time that passed: a text that grows would be another alert each minute.
            found.append(Alert(QUIET, f"nothing new came for {settings.quiet_minutes:g} minutes"))
    return tuple(alert for alert in found if alert is not None)


def _figure_alert(one: Followed, points: Sequence[SeriesPoint], settings: AlertSettings) -> Alert | None:
    having = [(point, point.figures[one.figure]) for point in points if one.figure in point.figures]
    limit = limit_of(one.figure, points, settings)
    if limit is None or (one.figure not in settings.limits and len(having) < _LEAST_POINTS):
        return None
    last = having[-settings.of_last :]
    beyond = [(point, value) for point, value in last if limit.is_beyond(value)]
    if len(beyond) < settings.at_least:
        return None
    bounds = " and ".join(
        f"{word} {one.shown(bound)}"
        for word, bound in (("below", limit.low), ("above", limit.high))
        if bound is not None
    ).replace(" and ", " or ")
    values = ", ".join(f"{point.name} {one.shown(value)}" for point, value in beyond)
    text = f"{len(beyond)} of the last {len(last)} series: {one.title} {bounds} ({values})"
    return Alert(one.figure, text, tuple(point.name for point, _ in beyond))


def alert_log(project: Path) -> AlertLog:
    """Alerts of a project as they were kept last; empty where there are none, or the file is damaged."""
    try:
        facts = json.loads((project / _STATE_NAME).read_text())
        return AlertLog(
            {
                subject: Alert(subject, one["text"], tuple(one["series"]))
                for subject, one in facts["active"].items()
            },
            tuple(Message(**one) for one in facts["said"]),
            tuple(Pending(**{**one, "message": Message(**one["message"])}) for one in facts["outbox"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return AlertLog()


def alerts_changed(project: Path) -> int:
    """A number that changes whenever the result of `alert_log` may have changed."""
    try:
        return (project / _STATE_NAME).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def keep_alert_log(project: Path, log: AlertLog) -> None:
    """Store alerts; their file is replaced in one move."""
    facts = {
        "active": {subject: {"text": a.text, "series": a.series} for subject, a in log.active.items()},
        "said": [asdict(message) for message in log.said],
        "outbox": [asdict(pending) for pending in log.outbox],
    }
    write_private(project / _STATE_NAME, json.dumps(facts))


def judged(
    log: AlertLog, alerts: Sequence[Alert], settings: AlertSettings, now: float, name: str
) -> AlertLog:
    """The log after an evaluation.

    Each alert that began or ended is announced once and has to be delivered.
    """
    active = {alert.subject: alert for alert in alerts}
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    began = [
        Message(when, name, alert.subject, "alert", alert.text, alert.series)
        for subject, alert in active.items()
        if subject not in log.active
    ]
    ended = [
        Message(when, name, subject, "over", f"over: {alert.text}", alert.series)
        for subject, alert in log.active.items()
        if subject not in active
    ]
    new = (*began, *ended)
    waiting = tuple(Pending(channel, message, now) for message in new for channel in settings.channels)
    return AlertLog(active, (*log.said, *new)[-_MOST_LOGGED:], (*log.outbox, *waiting))


def delivered(
    log: AlertLog, settings: AlertSettings, now: float, send: Callable[[str, Message, AlertSettings], str]
) -> AlertLog:
    """The log after one try of everything that is due; ``send`` gives an error, "" where it arrived.

    Messages of a channel arrive in their order: behind one that did not, the next are not tried.
    """
    left: list[Pending] = []
    blocked: set[str] = set()
    for pending in log.outbox:
        if pending.channel not in settings.channels or now - pending.since > _GIVE_UP_SECONDS:
            continue
        if pending.channel in blocked or now < pending.next_try:
            blocked.add(pending.channel)
            left.append(pending)
            continue
        error = send(pending.channel, pending.message, settings)
        if error:
            wait = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0**pending.tries)
            left.append(replace(pending, tries=pending.tries + 1, next_try=now + wait, error=error))
            blocked.add(pending.channel)
    return replace(log, outbox=tuple(left))


class AlertWatch:
    """The thread that judges and delivers; a context manager. `wake` makes it look at once."""

    def __init__(self, project: Path, look_seconds: float = _LOOK_SECONDS) -> None:
        self._project = project
        self._look_seconds = look_seconds
        self._closing = threading.Event()
        self._lock_file: IO[str] | None = None
        self._seen: object = None
        self._points: list[SeriesPoint] = []
        self._judge_after = 0.0
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def __enter__(self) -> AlertWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread; a delivery that hangs is left behind and made by the next watch."""
        self._closing.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self.look()
                self._closing.wait(self._look_seconds)
            self.look()  # what happened at the very end
        finally:
            if self._lock_file is not None:
                self._lock_file.close()

    def look(self) -> None:
        """Evaluate once and deliver due messages; does nothing if another process does it."""
        try:
            if not self._has_lock():
                return
            settings = alert_settings(self._project)
            before, now = alert_log(self._project), time.time()
            log = judged(before, self._alerts(settings), settings, now, _name_of(self._project))
            if log != before:
                keep_alert_log(
                    self._project, log
                )  # before anything is sent: a killed process sends twice, never not
            after = delivered(log, settings, now, deliver)
            if after != log:
                keep_alert_log(self._project, after)
        except (CryoloomError, OSError):
            return  # the disk is away, or the settings are being edited: look again

    def _has_lock(self) -> bool:
        if self._lock_file is None:
            file = (self._project / _LOCK_NAME).open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return False
            self._lock_file = file
        return True

    def _alerts(self, settings: AlertSettings) -> tuple[Alert, ...]:
        seen = _stamp(self._project)
        if seen != self._seen and time.monotonic() >= self._judge_after:
            began = time.monotonic()
            with ProjectReader(self._project) as reader:
                state = current_state(reader)
            self._points = session_points({name: one.made for name, one in state.series.items()})
            self._seen = seen
            self._judge_after = time.monotonic() + _SHARE_OF_TIME * (time.monotonic() - began)
        news = last_news(self._project)
        return alerts_of(self._points, settings, None if news is None else (time.time() - news) / 60)


def _name_of(project: Path) -> str:
    return project.parent.name if project.name == "project" else project.name


def _stamp(project: Path) -> list[Any]:
    """Changes whenever the database does."""
    found = []
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        try:
            facts = os.stat(project / name)
            found.append((facts.st_size, facts.st_mtime_ns))
        except FileNotFoundError:
            found.append((0, 0))
    return found
