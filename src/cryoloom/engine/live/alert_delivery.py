"""Alerts on their way: a line in a file, a program that is started, an address that is posted to."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any

from cryoloom.engine.live.alert_settings import AlertSettings

__all__ = ["Message", "deliver"]

_COMMAND_SECONDS, _HOOK_SECONDS = 30.0, 10.0
"""Chosen: a mail program or a web hook that takes longer does not work."""


@dataclass(frozen=True)
class Message:
    """One message, sent once."""

    when: str
    project: str
    subject: str
    state: str
    """``alert``, ``over`` or ``test``."""
    text: str
    series: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "series", tuple(self.series))  # a list after JSON

    @property
    def line(self) -> str:
        """The message as one line."""
        return f"cryoloom {self.project}: {self.text}"


def deliver(channel: str, message: Message, settings: AlertSettings) -> str:
    """Send a message once; gives why it did not arrive, "" if it did."""
    if channel == "file":
        return _to_file(message, settings)
    return _to_command(message, settings) if channel == "command" else _to_web_hook(message, settings)


def _to_file(message: Message, settings: AlertSettings) -> str:
    try:
        with open(str(settings.file), "a", encoding="utf-8") as file:
            file.write(f"{message.when} {message.line}\n")
    except OSError as error:
        return f"{settings.file}: {error.strerror}"
    return ""


def _to_command(message: Message, settings: AlertSettings) -> str:
    facts = {f"CRYOLOOM_ALERT_{key.upper()}": str(value) for key, value in asdict(message).items()}
    facts["CRYOLOOM_ALERT_SERIES"] = " ".join(message.series)
    try:
        ended = subprocess.run(
            [*settings.command, message.line],
            input=message.line + "\n",
            text=True,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            env={**os.environ, **facts},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{settings.command[0]} did not end within {_COMMAND_SECONDS:g} s"
    except OSError as error:
        return f"{settings.command[0]} cannot be started: {error.strerror}"
    if ended.returncode:
        said = ended.stderr.strip().splitlines()
        return f"{settings.command[0]} ended with {ended.returncode}" + (f": {said[-1]}" if said else "")
    return ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A post is not sent on: the address it goes to is the one that was given."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _to_web_hook(message: Message, settings: AlertSettings) -> str:
    # Slack, Mattermost, Teams and Discord show "text" or "content"; the rest is for programs.
    data = json.dumps({**asdict(message), "text": message.line, "content": message.line}).encode()
    request = urllib.request.Request(
        str(settings.web_hook),
        data,
        {"content-type": "application/json", "user-agent": "cryoloom"},
        method="POST",
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_HOOK_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"the web hook answered {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:  # an address is a secret: not repeated
        reason = getattr(error, "reason", error)
        return f"the web hook did not answer: {getattr(reason, 'strerror', None) or reason}"
