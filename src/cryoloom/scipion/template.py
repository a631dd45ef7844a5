"""Scipion's workflow files: lines of text, then a JSON list of protocols.

A protocol is a flat dictionary; a link is a value like ``"52.TiltSeries_3"`` (id and output of another
protocol), or a list of links. Templates have placeholders ``~title|default|type|name~``, older ones without
the name. `rules` gives the meaning of Scipion's names, and `translation` applies the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryoloom.errors import UserInputError

__all__ = ["Link", "Protocol", "ScipionWorkflow", "read_scipion_workflow"]


_WHOLE_PROTOCOLS = frozenset(
    {"protPrepare", "prepDataProt", "inTmProtocol", "inputUmaps", "inputToMProtocol"}
)
"""Parameters that take a whole protocol; their links have no output name after the id."""


@dataclass(frozen=True, slots=True)
class Link:
    """Source of a parameter's data."""

    parameter: str
    source: str
    """Id of a protocol."""
    output: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """One box of a Scipion project."""

    id: str
    class_name: str
    label: str
    comment: str
    values: Mapping[str, Any]
    """Parameters without links."""
    links: tuple[Link, ...]

    def source(self, parameter: str) -> Link | None:
        """Link of a parameter, if it has one."""
        return next((link for link in self.links if link.parameter == parameter), None)

    @property
    def title(self) -> str:
        """Name in messages: id and class."""
        return f"{self.id} {self.class_name}"


@dataclass(frozen=True, slots=True)
class ScipionWorkflow:
    """Text at the top of a template, and its protocols, each after its inputs."""

    description: str
    protocols: tuple[Protocol, ...]


def read_scipion_workflow(path: Path) -> ScipionWorkflow:
    """Read an exported workflow or a template; raises UserInputError if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"the Scipion workflow {path} cannot be read: {error}") from error
    begin = re.search(r"^\s*\[", text, flags=re.MULTILINE)
    try:
        entries = json.loads(_with_defaults(text[begin.start() :])) if begin else None
    except json.JSONDecodeError as error:
        raise UserInputError(f"{path} is not a Scipion workflow: {error}") from error
    if not isinstance(entries, list) or not all(_is_protocol(entry) for entry in entries):
        raise UserInputError(
            f"{path} is not a Scipion workflow: expected a JSON list of protocols with object.className and "
            "object.id; export it in Scipion with 'Export workflow'"
        )
    ids = {str(entry["object.id"]) for entry in entries}
    protocols = [_protocol(entry, ids) for entry in entries]
    description = " ".join(text[: begin.start()].split()) if begin else ""
    return ScipionWorkflow(description, tuple(_in_order(protocols, path)))


def _with_defaults(text: str) -> str:
    """A template with every placeholder replaced by its default."""
    return re.sub(r"~[^|~\n]*\|([^|~\n]*)(?:\|[^|~\n]*){1,3}~", r"\1", text)


def _is_protocol(entry: object) -> bool:
    return isinstance(entry, dict) and {"object.className", "object.id"} <= set(entry)


def _protocol(entry: Mapping[str, Any], ids: set[str]) -> Protocol:
    links: list[Link] = []
    values: dict[str, Any] = {}
    for name, value in entry.items():
        pointed = [_link(name, one, ids) for one in (value if isinstance(value, list) else [value])]
        found = [link for link in pointed if link is not None]
        if found:
            links += found
        elif not name.startswith("object."):
            values[name] = value
    return Protocol(
        str(entry["object.id"]),
        str(entry["object.className"]),
        str(entry.get("object.label") or ""),
        str(entry.get("object.comment") or ""),
        values,
        tuple(links),
    )


def _link(parameter: str, value: object, ids: set[str]) -> Link | None:
    """A link to an output or to a whole protocol; None for a value."""
    if not isinstance(value, str):
        return None
    found = re.fullmatch(r"(\d+)\.([A-Za-z]\w*)(?:\.\w+)*", value)
    if found is None and parameter in _WHOLE_PROTOCOLS:
        found = re.fullmatch(r"(\d+)\.?()", value)
    return Link(parameter, found[1], found[2]) if found and found[1] in ids else None


def _in_order(protocols: list[Protocol], path: Path) -> list[Protocol]:
    """Protocols in an order with inputs first; Scipion lists them in the order of creation."""
    ordered: list[Protocol] = []
    placed: set[str] = set()
    waiting = list(protocols)
    while waiting:
        ready = next((p for p in waiting if all(link.source in placed for link in p.links)), None)
        if ready is None:
            names = ", ".join(protocol.title for protocol in waiting)
            raise UserInputError(f"{path}: the protocols {names} form a cycle")
        waiting.remove(ready)
        ordered.append(ready)
        placed.add(ready.id)
    return ordered
