"""Output of commands that record decisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryoloom.cli.terminal import say
from cryoloom.store.curation import Curation
from cryoloom.store.decisions import Decision, this_user

__all__ = ["curation_of", "say_decided", "sentence_of"]


def curation_of(project: Path) -> Curation:
    """Decisions of the user of this process, from the command line."""
    return Curation(project.absolute(), this_user("command line"))


def say_decided(project: Path, events: Sequence[Decision], *, undone: bool = False) -> None:
    """Print what was decided or undone, and the next command."""
    for line in dict.fromkeys(sentence_of(event) for event in events):
        say(f"{'taken back: ' if undone else ''}{line}")
    if any(event.kind != "comment" for event in events):
        say(f"`cryoloom resume --project {project}` updates the results")


def sentence_of(event: Decision) -> str:
    """A decision in words."""
    why = f": {event.why}" if event.why else ""
    if event.undoes is not None:
        return f"undo of decision {event.undoes}"
    if event.kind == "tilt":
        verb = "keep" if event.value and event.value["keep"] else "leave out"
        return f"{event.item}: {verb} tilt {event.target}{why}"
    if event.kind == "series":
        verb = "keep" if event.value and event.value["keep"] else "leave out"
        return f"{event.item}: {verb} the whole series{why}"
    if event.kind == "parameter":
        return f"{event.item}: {event.target} = {event.value}{why}"
    if event.kind == "comment":
        of = f" tilt {event.target}" if event.target else ""
        return f"{event.item}{of}: {event.value if event.value is not None else 'comment removed'}"
    return f"{event.item}: {event.kind} {event.target} = {event.value}{why}"
