"""A Scipion workflow as steps: every protocol is translated, or listed with the reason why not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryoloom.scipion.rule import (
    MACHINE_PARAMETERS,
    SERIES,
    Convert,
    NotTranslatedError,
    Piece,
    Rule,
    Surroundings,
)
from cryoloom.scipion.rules import NO_RULE, RULES
from cryoloom.scipion.template import Link, Protocol, ScipionWorkflow

__all__ = ["NotTranslated", "TranslatedStep", "Translation", "translate_scipion"]


@dataclass(frozen=True, slots=True)
class NotTranslated:
    """A protocol, or one of its parameters, that has no counterpart here."""

    protocol: str
    parameter: str
    """Empty for a whole protocol."""
    value: Any
    why: str

    def __str__(self) -> str:
        what = f"{self.protocol}: {self.parameter} = {self.value!r}" if self.parameter else self.protocol
        return f"{what}: {self.why}"


@dataclass(frozen=True, slots=True)
class TranslatedStep:
    """A step with what feeds it, by role, "input" first."""

    name: str
    step: str
    feeds: Mapping[str, str]
    parameters: Mapping[str, Any]
    comment: str


@dataclass(frozen=True, slots=True)
class Translation:
    """Result of a translation."""

    description: str
    steps: tuple[TranslatedStep, ...]
    left: tuple[NotTranslated, ...]
    steps_of: Mapping[str, tuple[str, ...]]
    """Names of the steps that a translated protocol became or became part of, by its id."""


@dataclass
class _Made:
    """A step that is being translated."""

    step: str
    feeds: dict[str, int]
    parameters: dict[str, Any]
    comment: str
    protocol: str
    pixel_size_angstrom: float | None


@dataclass
class _Place:
    """Result for a protocol: steps by output, or what it adds to the following step."""

    outputs: list[tuple[str, int]] = field(default_factory=list)
    last: int | None = None
    pending: Mapping[str, Any] | None = None
    """Parameters for the next protocol's step, if this one is part of it."""
    pending_ctf: int | None = None


class _NotPlacedError(Exception):
    """A protocol cannot be placed; the text gives the reason."""


def translate_scipion(workflow: ScipionWorkflow) -> Translation:
    """Translate every protocol that has a rule; the others, and unknown parameters, are listed."""
    return _Translator(workflow).translation()


class _Translator:
    """Translates protocols in order and stores the results."""

    def __init__(self, workflow: ScipionWorkflow) -> None:
        self._workflow = workflow
        self._protocols = {protocol.id: protocol for protocol in workflow.protocols}
        self._made: list[_Made] = []
        self._places: dict[str, _Place] = {}
        self._assigned: dict[tuple[int, int], int] = {}
        self._left: list[NotTranslated] = []
        self._opened: int | None = None
        """The import that feeds inputs that a template leaves open."""

    def translation(self) -> Translation:
        for protocol in self._workflow.protocols:
            rule = RULES.get(protocol.class_name)
            if rule is None:
                why = NO_RULE.get(protocol.class_name, "this protocol is not known")
                self._leave(protocol, why)
                continue
            try:
                self._places[protocol.id] = self._place(protocol, rule)
            except _NotPlacedError as error:
                self._leave(protocol, str(error))
        names = self._names()
        steps = tuple(
            TranslatedStep(
                names[i],
                made.step,
                {role: names[source] for role, source in made.feeds.items()},
                made.parameters,
                made.comment,
            )
            for i, made in enumerate(self._made)
        )
        steps_of = {
            id: tuple(names[made] for made in {made: None for _, made in place.outputs} | {place.last: None})
            for id, place in self._places.items()
            if place.last is not None
        }
        return Translation(self._workflow.description, steps, tuple(self._left), steps_of)

    def _leave(self, protocol: Protocol, why: str) -> None:
        links = ", ".join(f"{link.parameter} from {link.source}" for link in protocol.links)
        self._left.append(NotTranslated(protocol.title, "", None, f"{why} ({links})" if links else why))

    def _names(self) -> list[str]:
        """A step's own name where it occurs once, else with the protocol's id."""
        counts = Counter(made.step for made in self._made)
        names: list[str] = []
        for made in self._made:
            name = made.step if counts[made.step] == 1 else f"{made.step}_{made.protocol}"
            names.append(name if name not in names else f"{name}_{names.count(name) + 1}")
        return names

    def _place(self, protocol: Protocol, rule: Rule) -> _Place:
        main, before = self._main_source(protocol, rule)
        roles: dict[str, int] = {}
        for link in (one for one in protocol.links if one.parameter in rule.roles):
            try:
                roles[rule.roles[link.parameter]] = self._resolved(link)
            except _NotPlacedError as error:
                self._left.append(NotTranslated(protocol.title, link.parameter, link.output, str(error)))
        ctf_link = protocol.source(rule.ctf) if rule.ctf else None
        ctf = self._resolved(ctf_link) if ctf_link else (before.pending_ctf if before else None)
        inherited = dict(before.pending) if before and before.pending is not None else {}
        pieces = [piece for piece in rule.pieces if piece.when(protocol.values)]
        if rule.part_of_next:
            parameters = self._parameters(protocol, rule, pieces, main)
            return _Place(
                last=main, pending={**inherited, **parameters.get(pieces[-1].step, {})}, pending_ctf=ctf
            )
        if ctf is not None:
            self._bring_ctf(ctf, roles, main, protocol)
            main = roles.pop("input", main)
        place = _Place()
        parameters = self._parameters(protocol, rule, pieces, main)
        pieces = [piece for piece in pieces if roles or not piece.for_roles]
        takes_roles = next((piece for piece in pieces if piece.for_roles), pieces[-1] if pieces else None)
        for piece in pieces:
            feeds = {} if main is None else {"input": main}
            if piece is takes_roles:
                feeds |= roles
            own = {**(inherited if piece is pieces[-1] else {}), **parameters[piece.step]}
            pixel = self._pixel(main, protocol, own)
            if piece.keeps_voxels and pixel is not None:
                own["voxel_size_angstrom"] = round(pixel, 4)
            if piece.binning and pixel is not None:
                pixel *= float(protocol.values.get(piece.binning) or 1)
            comment = f"Scipion {protocol.id}: {protocol.label}"
            if protocol.comment:
                comment += f" - {protocol.comment}"
            main = self._add(_Made(piece.step, feeds, own, comment, protocol.id, pixel))
            place.outputs.append((piece.outputs, main))
        place.last = main
        return place

    def _add(self, made: _Made) -> int:
        self._made.append(made)
        return len(self._made) - 1

    def _main_source(self, protocol: Protocol, rule: Rule) -> tuple[int | None, _Place | None]:
        """The step that feeds a protocol, and the protocol before if that is part of this one."""
        link = next((found for name in rule.inputs if (found := protocol.source(name))), None)
        if link is None:
            return self._open_source(protocol, rule) if rule.inputs else None, None
        place = self._places.get(link.source)
        if place is not None and place.pending is not None:
            if self._step_of(link.source) == rule.pieces[-1].step:
                return place.last, place
            return place.last, None
        source = self._resolved(link)
        if rule.through:
            source = self._made[source].feeds.get("input", source)
        return source, None

    def _open_source(self, protocol: Protocol, rule: Rule) -> int:
        """The import for protocols whose input a template leaves open; all of them share one."""
        if not set(rule.inputs) & set(SERIES):
            raise _NotPlacedError(f"it has no input ({' or '.join(rule.inputs)})")
        if self._opened is None:
            comment = "Scipion: the template leaves its input open; set stack"
            self._opened = self._add(_Made("import_tilt_series", {}, {}, comment, protocol.id, None))
        why = "the template leaves it open: set stack of import_tilt_series"
        self._left.append(NotTranslated(protocol.title, rule.inputs[0], None, why))
        return self._opened

    def _step_of(self, protocol_id: str) -> str:
        return RULES[self._protocols[protocol_id].class_name].pieces[-1].step

    def _resolved(self, link: Link) -> int:
        """The step that makes the output of a link."""
        place = self._places.get(link.source)
        if place is None or place.last is None:
            raise _NotPlacedError(
                f"{link.parameter} comes from {self._protocols[link.source].title}, which was not translated"
            )
        for pattern, made in place.outputs:
            if pattern and re.fullmatch(pattern, link.output):
                return made
        return place.last

    def _bring_ctf(self, ctf: int, roles: dict[str, int], main: int | None, protocol: Protocol) -> None:
        """Make sure that the series has the requested CTF: it is part of it, or is assigned."""
        role = "series_from" if "series_from" in roles else "input"
        series = roles.get(role, main)
        if series is None or ctf in self._way_of(series):
            return
        pair = (series, ctf)
        if pair not in self._assigned:
            self._assigned[pair] = self._add(
                _Made(
                    "assign_ctf",
                    {"input": series, "ctf_from": ctf},
                    {},
                    f"Scipion {protocol.id}: series and CTF of two protocols are combined",
                    protocol.id,
                    self._made[series].pixel_size_angstrom,
                )
            )
        roles[role] = self._assigned[pair]

    def _way_of(self, made: int) -> set[int]:
        """A step and those its pixels came through."""
        way = {made}
        while (source := self._made[made].feeds.get("input")) is not None:
            way.add(source)
            made = source
        return way

    def _pixel(self, source: int | None, protocol: Protocol, parameters: Mapping[str, Any]) -> float | None:
        """Pixel size of a step's input; at the import that set by the user."""
        if source is not None:
            return self._made[source].pixel_size_angstrom
        told = parameters.get("pixel_size_angstrom")
        return None if told is None else float(told)

    def _parameters(
        self, protocol: Protocol, rule: Rule, pieces: list[Piece], main: int | None
    ) -> dict[str, dict[str, Any]]:
        """Our parameters by step; every other value of the protocol is listed unless it requests nothing."""
        pixel = None if main is None else self._made[main].pixel_size_angstrom
        around = Surroundings(protocol.values, pixel)
        found: dict[str, dict[str, Any]] = {piece.step: dict(piece.sets) for piece in pieces}
        for name, value in protocol.values.items():
            if name in MACHINE_PARAMETERS or value is None or value == "":
                continue
            why = rule.why.get(name, "no counterpart")
            try:
                if self._taken(name, value, pieces, around, found, main):
                    continue
                if self._given_upstream(name, value, rule.upstream, around, main):
                    continue
            except NotTranslatedError as error:
                why = rule.why.get(name, str(error))
            if name in rule.quiet and rule.quiet[name] in (None, value):
                continue
            self._left.append(NotTranslated(protocol.title, name, value, why))
        return found

    def _taken(
        self,
        name: str,
        value: Any,
        pieces: list[Piece],
        around: Surroundings,
        found: dict[str, dict[str, Any]],
        main: int | None,
    ) -> bool:
        """Set a parameter of a piece; False if no piece has it."""
        for piece in pieces:
            if name in piece.takes:
                ours, given = _converted(piece.takes[name], value, around)
                found[piece.step][piece.renames.get(ours, lambda _, ours=ours: ours)(given)] = given
                return True
            if self._given_upstream(name, value, piece.upstream, around, main):
                return True
        return False

    def _given_upstream(
        self,
        name: str,
        value: Any,
        upstream: Mapping[str, Mapping[str, tuple[str, Convert]]],
        around: Surroundings,
        main: int | None,
    ) -> bool:
        """Set a parameter of an earlier step; False if it does not belong there."""
        for step, takes in upstream.items():
            if name in takes:
                ours, given = _converted(takes[name], value, around)
                self._upstream(step, main)[ours] = given
                return True
        return False

    def _upstream(self, step: str, main: int | None) -> dict[str, Any]:
        """Parameters of the nearest earlier step of a kind."""
        way = () if main is None else sorted(self._way_of(main), reverse=True)
        for made in way:
            if self._made[made].step == step:
                return self._made[made].parameters
        raise NotTranslatedError(f"it belongs to {step}, which this workflow does not have")


def _converted(take: tuple[str, Convert], value: Any, around: Surroundings) -> tuple[str, Any]:
    name, convert = take
    return name, convert(value, around)
