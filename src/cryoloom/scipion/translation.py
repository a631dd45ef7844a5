"""Translation of a Scipion workflow to steps; protocols without translation are listed with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryoloom.contract import find_step
from cryoloom.errors import UserInputError
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
from cryoloom.scipion.step_kinds import further_roles, needed_kind
from cryoloom.scipion.template import Link, Protocol, ScipionWorkflow

__all__ = ["NotTranslated", "TranslatedStep", "Translation", "translate_scipion"]

_ANYTHING = "object"
"""Kind of a step whose output has the type of its input."""


class _UnreadableError(NotTranslatedError):
    """A value of another type than Scipion writes: listed also where the parameter needs no counterpart."""


@dataclass(frozen=True, slots=True)
class NotTranslated:
    """A protocol, or one of its parameters, without a counterpart."""

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
    """A step with its inputs by role, "input" first."""

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
    """Names of the steps that contain a translated protocol, by its id."""


@dataclass
class _Made:
    """A step during translation."""

    step: str
    feeds: dict[str, int]
    parameters: dict[str, Any]
    comment: str
    protocol: str
    pixel_size_angstrom: float | None
    voxel_binning: float | None = 1.0
    """Voxel size of a tomogram over the pixel size of its images; None if it is not known."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Source of a protocol: a step, and the binning of its output since then."""

    made: int | None
    before: _Place | None = None
    """Place of the previous protocol, if it is part of this one."""
    scale: float | None = 1.0


@dataclass
class _Place:
    """Result for a protocol: steps by output, or parameters for the next step."""

    outputs: list[tuple[str, int]] = field(default_factory=list)
    last: int | None = None
    pending: Mapping[str, Any] | None = None
    """Parameters for the next protocol's step, if this protocol is part of it."""
    pending_ctf: int | None = None
    scale: float | None = 1.0
    """Pixel size of the output over that of the last step, if the protocol only bins; None if unknown."""


class _NotPlacedError(Exception):
    """A protocol cannot be placed; the text gives the reason."""


def translate_scipion(workflow: ScipionWorkflow) -> Translation:
    """Translate every protocol with a rule, and list the other protocols and unknown parameters."""
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
        """Import step for inputs that are open in a template."""

    def translation(self) -> Translation:
        for protocol in self._workflow.protocols:
            rule = RULES.get(protocol.class_name)
            if rule is None:
                why = NO_RULE.get(protocol.class_name, "this protocol is not known")
                self._leave(protocol, why)
                continue
            try:
                self._places[protocol.id] = (
                    self._passed_by(protocol, rule) if rule.stated else self._place(protocol, rule)
                )
            except _NotPlacedError as error:
                self._leave(protocol, str(error))
            except (TypeError, ValueError) as error:
                # The value that decides between steps has another type than Scipion writes.
                raise UserInputError(
                    f"{protocol.title} has a value that cannot be read ({error}); export the workflow from "
                    "Scipion again"
                ) from error
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
            if place.last is not None and not RULES[self._protocols[id].class_name].stated
        }
        return Translation(self._workflow.description, steps, tuple(self._left), steps_of)

    def _leave(self, protocol: Protocol, why: str) -> None:
        links = ", ".join(f"{link.parameter} from {link.source}" for link in protocol.links)
        self._left.append(NotTranslated(protocol.title, "", None, f"{why} ({links})" if links else why))

    def _names(self) -> list[str]:
        """Names of the steps; a step that occurs more than once has the protocol's id in its name."""
        counts = Counter(made.step for made in self._made)
        names: list[str] = []
        for made in self._made:
            name = made.step if counts[made.step] == 1 else f"{made.step}_{made.protocol}"
            names.append(name if name not in names else f"{name}_{names.count(name) + 1}")
        return names

    def _place(self, protocol: Protocol, rule: Rule) -> _Place:
        values = {**rule.defaults, **protocol.values}
        source = self._main_source(protocol, rule)
        before = source.before
        roles = self._roles(protocol, rule)
        ctf_link = protocol.source(rule.ctf) if rule.ctf else None
        ctf = self._resolved(ctf_link) if ctf_link else (before.pending_ctf if before else None)
        inherited = dict(before.pending) if before and before.pending is not None else {}
        pieces = [piece for piece in rule.pieces if piece.when(values)]
        if rule.part_of_next:
            parameters = self._parameters(protocol, rule, pieces, source)
            return _Place(
                last=source.made,
                pending={**inherited, **parameters.get(pieces[-1].step, {})},
                pending_ctf=ctf,
            )
        if ctf is not None:
            self._bring_ctf(ctf, roles, source.made, protocol)
            source = replace(source, made=roles.pop("input", source.made))
        parameters = self._parameters(protocol, rule, pieces, source)
        pieces = [piece for piece in pieces if roles or not piece.for_roles]
        if not pieces:
            return _Place(last=source.made, scale=_rescaled(source.scale, rule, values))
        takes_roles = next((piece for piece in pieces if piece.for_roles), pieces[-1])
        place = _Place()
        for piece in pieces:
            own = {**(inherited if piece is pieces[-1] else {}), **parameters[piece.step]}
            feeds = self._feeds(piece.step, source.made, roles if piece is takes_roles else {}, protocol)
            source = replace(source, made=feeds.get("input"))
            pixel, binned = self._sizes(piece, source, own, values)
            if piece.keeps_voxels and pixel is not None:
                own["voxel_size_angstrom"] = round(pixel, 4)
            comment = f"Scipion {protocol.id}: {protocol.label}"
            if protocol.comment:
                comment += f" - {protocol.comment}"
            made = self._add(_Made(piece.step, feeds, own, comment, protocol.id, pixel, binned))
            place.outputs.append((piece.outputs, made))
            source = _Source(made)
        place.last = source.made
        return place

    def _passed_by(self, protocol: Protocol, rule: Rule) -> _Place:
        """A protocol that is only listed: the next protocols take its input."""
        for link in (link for name in rule.inputs for link in protocol.links if link.parameter == name):
            try:
                made = self._resolved(link)
            except _NotPlacedError:
                continue
            is_used = any(
                later.source == protocol.id for one in self._protocols.values() for later in one.links
            )
            past = f"; what follows takes its {link.parameter}" if is_used else ""
            self._leave(protocol, rule.stated + past)
            return _Place(last=made, scale=_rescaled(self._places[link.source].scale, rule, protocol.values))
        raise _NotPlacedError(rule.stated)

    def _roles(self, protocol: Protocol, rule: Rule) -> dict[str, int]:
        """Steps for the further inputs, by our role; links without such an input are listed."""
        known = {*rule.inputs, *rule.roles, rule.ctf, *rule.quiet}
        for link in protocol.links:
            if link.parameter not in known:
                why = rule.why.get(link.parameter, "no counterpart")
                value = f"{link.source}.{link.output}"
                self._left.append(NotTranslated(protocol.title, link.parameter, value, why))
        roles: dict[str, int] = {}
        for link in (one for one in protocol.links if one.parameter in rule.roles):
            try:
                roles[rule.roles[link.parameter]] = self._resolved(link)
            except _NotPlacedError as error:
                self._left.append(NotTranslated(protocol.title, link.parameter, link.output, str(error)))
        return roles

    def _feeds(
        self, step: str, main: int | None, roles: Mapping[str, int], protocol: Protocol
    ) -> dict[str, int]:
        """Inputs of a step, each from a step with such an output; _NotPlacedError if one is missing."""
        given = {} if main is None else {"input": main}
        feeds: dict[str, int] = {}
        for role, made in (given | dict(roles)).items():
            needed = needed_kind(step, role)
            fitting = next((one for one in self._line_of(made) if self._gives(one, needed)), None)
            if fitting is None:
                kind = " and ".join(self._kinds(made))
                raise _NotPlacedError(f"{step} needs a {needed}, and {self._made[made].step} gives a {kind}")
            if fitting != made:
                why = f"{step} takes a {needed}: that of {self._made[fitting].step}"
                self._left.append(NotTranslated(protocol.title, role, self._made[made].step, why))
            feeds[role] = fitting
        missing = [role for role in further_roles(step) if role not in feeds]
        if missing:
            raise _NotPlacedError(
                f"{step} needs {' and '.join(missing)} too, and nothing translated gives it"
            )
        return feeds

    def _line_of(self, made: int) -> Iterator[int]:
        """A step and the steps before it along the main input, the nearest first."""
        at: int | None = made
        while at is not None:
            yield at
            at = self._made[at].feeds.get("input")

    def _gives(self, made: int, needed: str | None) -> bool:
        return needed in (None, _ANYTHING) or needed in self._kinds(made)

    def _kinds(self, made: int) -> set[str]:
        """Types of a step's outputs; a step that accepts any type returns the type of its input."""
        kinds = set(find_step(self._made[made].step).given_kinds.values())
        source = self._made[made].feeds.get("input")
        if _ANYTHING in kinds and source is not None:
            kinds = (kinds - {_ANYTHING}) | self._kinds(source)
        return kinds

    def _sizes(
        self, piece: Piece, source: _Source, own: Mapping[str, Any], values: Mapping[str, Any]
    ) -> tuple[float | None, float | None]:
        """Pixel size of a step's output, and its voxel size over the pixel size of the images."""
        kinds = find_step(piece.step).given_kinds.values()
        if source.made is None:
            given = own.get("pixel_size_angstrom")
            return (None if given is None else float(given)), (1.0 if "TiltSeries" in kinds else None)
        fed_by = self._made[source.made]
        pixel, binned = _times(fed_by.pixel_size_angstrom, source.scale), fed_by.voxel_binning
        is_reconstruction = "Tomogram" in kinds and "Tomogram" not in self._kinds(source.made)
        if is_reconstruction:
            binned = 1.0 if piece.keeps_voxels or piece.binning else None
        else:
            binned = _times(binned, source.scale)
        if piece.binning and "pixel_size_angstrom" in own:
            pixel = float(own["pixel_size_angstrom"])
        elif piece.binning:
            factor = float(own.get("binning") or values.get(piece.binning) or 1)
            pixel, binned = _times(pixel, factor), _times(binned, factor)
        return pixel, (1.0 if "TiltSeries" in kinds else binned)

    def _add(self, made: _Made) -> int:
        self._made.append(made)
        return len(self._made) - 1

    def _main_source(self, protocol: Protocol, rule: Rule) -> _Source:
        """Source step of a protocol, and the previous protocol if it is part of this one."""
        link = next((found for name in rule.inputs if (found := protocol.source(name))), None)
        if link is None:
            return _Source(self._open_source(protocol, rule) if rule.inputs else None)
        place = self._places.get(link.source)
        if place is not None and place.pending is not None:
            is_same = self._step_of(link.source) == rule.pieces[-1].step
            return _Source(place.last, place if is_same else None, place.scale)
        source = self._resolved(link)
        if rule.through:
            source = self._made[source].feeds.get("input", source)
        return _Source(source, scale=self._places[link.source].scale)

    def _open_source(self, protocol: Protocol, rule: Rule) -> int:
        """Import step for protocols with an open input in a template; all of them share it."""
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
        """Step that makes the output of a link."""
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
        """Make sure that the series has the requested CTF; assign it if it is not part of the series."""
        role = "series_from" if "series_from" in roles else "input"
        series = roles.get(role, main)
        if series is None or ctf in self._way_of(series):
            return
        if not self._gives(series, "TiltSeries"):
            why = f"{self._made[series].step} was made without this CTF: connect it before the reconstruction"
            self._left.append(NotTranslated(protocol.title, "CTF", self._made[ctf].step, why))
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
        """A step and the earlier steps of its pixels."""
        way = {made}
        while (source := self._made[made].feeds.get("input")) is not None:
            way.add(source)
            made = source
        return way

    def _parameters(
        self, protocol: Protocol, rule: Rule, pieces: list[Piece], source: _Source
    ) -> dict[str, dict[str, Any]]:
        """Our parameters by step; all other values of the protocol are listed unless they have no effect."""
        values = {**rule.defaults, **protocol.values}
        around = self._surroundings(values, source)
        found: dict[str, dict[str, Any]] = {piece.step: dict(piece.sets) for piece in pieces}
        for name, value in values.items():
            if name in MACHINE_PARAMETERS or value is None or value == "":
                continue
            if name in rule.counts_if and not rule.counts_if[name](values):
                continue
            why, is_quiet = rule.why.get(name, "no counterpart"), _is_quiet(rule, name, value)
            try:
                if self._taken(name, value, pieces, around, found, source.made):
                    continue
                if self._given_upstream(name, value, rule.upstream, around, source.made):
                    continue
            except _UnreadableError as error:
                why, is_quiet = str(error), False
            except NotTranslatedError as error:
                why = rule.why.get(name, str(error))
            if name in protocol.values and not is_quiet:
                self._left.append(NotTranslated(protocol.title, name, value, why))
        self._derive(protocol, pieces, around, found)
        return found

    def _surroundings(self, values: Mapping[str, Any], source: _Source) -> Surroundings:
        if source.made is None:
            return Surroundings(values, None)
        made = self._made[source.made]
        return Surroundings(
            values,
            _times(made.pixel_size_angstrom, source.scale),
            _times(made.voxel_binning, source.scale),
            frozenset(self._made[one].step for one in self._way_of(source.made)),
        )

    def _derive(
        self,
        protocol: Protocol,
        pieces: list[Piece],
        around: Surroundings,
        found: dict[str, dict[str, Any]],
    ) -> None:
        """Set the parameters that follow from several values; a parameter that cannot be set is listed."""
        for piece in pieces:
            for ours, derived in piece.derives.items():
                try:
                    value = derived(around)
                except (NotTranslatedError, TypeError, ValueError) as error:
                    self._left.append(NotTranslated(protocol.title, ours, None, str(error)))
                    continue
                if value is not None:
                    found[piece.step][ours] = value

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
    """Our parameter and its value. A value of another type than Scipion writes has no counterpart."""
    name, convert = take
    try:
        return name, convert(value, around)
    except (TypeError, ValueError) as error:
        raise _UnreadableError(f"the value cannot be read: {error}") from error


def _is_quiet(rule: Rule, name: str, value: Any) -> bool:
    """Whether a value needs no translation and no entry in the list."""
    if name not in rule.quiet:
        return False
    quiet = rule.quiet[name]
    return quiet is None or (value in quiet if isinstance(quiet, tuple) else value == quiet)


def _times(size: float | None, factor: float | None) -> float | None:
    return None if size is None or factor is None else size * factor


def _rescaled(scale: float | None, rule: Rule, values: Mapping[str, Any]) -> float | None:
    """Pixel size of the output over that of the last step, after a protocol that only bins."""
    if not rule.rescales:
        return scale
    if rule.rescales == "?":
        return None
    return _times(scale, float(values[rule.rescales])) if values.get(rule.rescales) else None
