"""What a rule of translation is, and the conversions of values that rules are made of.

Lengths in pixels become angstrom where the pixel size is known from the import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryoloom.errors import UserInputError
from cryoloom.formats.imod.excluded_views import read_excluded_views

__all__ = [
    "MACHINE_PARAMETERS",
    "SERIES",
    "Convert",
    "NotTranslatedError",
    "Piece",
    "Rule",
    "Surroundings",
    "first",
    "one_of",
    "only_if",
    "p",
    "pixels",
    "same",
    "times",
    "views_of_file",
]


class NotTranslatedError(Exception):
    """A value has no counterpart here; the text says why."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a conversion may need to know besides the value."""

    values: Mapping[str, Any]
    """All parameters of the protocol."""
    pixel_size_angstrom: float | None
    """Of the images or voxels the protocol gets; None where only the mdoc tells it."""


Convert = Callable[[Any, Surroundings], Any]


def same(value: Any, around: Surroundings) -> Any:
    """The value as it is."""
    return value


def times(factor: float) -> Convert:
    """The value in another unit."""
    return lambda value, around: float(value) * factor


def pixels(value: Any, around: Surroundings) -> float:
    """Pixels of the input as angstrom."""
    if around.pixel_size_angstrom is None:
        raise NotTranslatedError(f"{value} pixels: the pixel size is told by the mdoc alone")
    return round(float(str(value).split()[0]) * around.pixel_size_angstrom, 3)


def one_of(*choices: Any) -> Convert:
    """The meaning of a number in a list of choices; None says that there is no counterpart."""

    def chosen(value: Any, around: Surroundings) -> Any:
        index = int(value)
        if not 0 <= index < len(choices) or choices[index] is None:
            raise NotTranslatedError(f"choice {value} has no counterpart")
        return choices[index]

    return chosen


def only_if(parameter: str, value: Any, convert: Convert) -> Convert:
    """A conversion of something that counts only where another parameter has a value."""

    def converted(given: Any, around: Surroundings) -> Any:
        if around.values.get(parameter) != value:
            raise NotTranslatedError(f"{parameter} does not ask for it")
        return convert(given, around)

    return converted


def views_of_file(value: Any, around: Surroundings) -> dict[str, list[int]]:
    """Views by series from a file of lines like ``TS_01 1,38-41``, read now."""
    try:
        return {name: list(views) for name, views in read_excluded_views(Path(str(value))).items()}
    except UserInputError as error:
        raise NotTranslatedError(error.message) from error


def first(convert: Convert) -> Convert:
    """Of a pair like '0.33 0.33' the first: ours is one number for x and y."""
    return lambda value, around: convert(float(str(value).split()[0]), around)


@dataclass(frozen=True, slots=True)
class Piece:
    """A step that a protocol becomes, or one of several."""

    step: str
    takes: Mapping[str, tuple[str, Convert]] = field(default_factory=dict)
    """Our parameter and its conversion, by Scipion's parameter."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that the protocol implies."""
    when: Callable[[Mapping[str, Any]], bool] = lambda values: True
    outputs: str = ""
    """Pattern of the protocol's outputs that this piece makes; the last piece makes all others."""
    renames: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """A parameter of ours that is called otherwise for some values."""
    keeps_voxels: bool = False
    """Whether voxels are as large as the pixels of the input."""
    binning: str = ""
    """Scipion's parameter by which this step makes pixels larger."""
    upstream: Mapping[str, Mapping[str, tuple[str, Convert]]] = field(default_factory=dict)
    """What belongs to a step further up, by step."""
    for_roles: bool = False
    """Whether this piece, not the last, takes the further inputs; it is left out where there are none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a protocol is translated."""

    pieces: tuple[Piece, ...]
    """Without any, the protocol is part of the step that feeds it, and what it gives is that step's."""
    inputs: tuple[str, ...] = ()
    """Names the main input has had."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Our role of a further input, by Scipion's parameter."""
    ctf: str = ""
    """The input that brings the CTF, which here travels with the series."""
    through: bool = False
    """The main input is what this protocol's own input was made from (picks: the tomograms)."""
    upstream: Mapping[str, Mapping[str, tuple[str, Convert]]] = field(default_factory=dict)
    """What belongs to a step further up, by step, of a protocol without pieces."""
    part_of_next: bool = False
    """Part of what the next protocol does here in one step."""
    quiet: Mapping[str, Any] = field(default_factory=dict)
    """Values that ask for nothing, or for what is always done."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Why a parameter has no counterpart."""


MACHINE_PARAMETERS = frozenset(
    "_useQueue _queueParams _prerequisites runName runMode hostName numberOfThreads numberOfMpi gpuList "
    "useGpu doGpu gpusToUse binThreads numCpus pooledSubtomos allParticlesRam scratchDir combineItersDisc "
    "parallelDiscIO keepOnlyLastIterFiles deleteGenMFiles importAction anglesFrom mdocInfo EERtext memory "
    "streamingSleepOnWait doEvenOdd processOddEven outImod saveStack ccmatrixBatch keepHdfFile "
    "useDynamoGui dataStreaming timeout fileTimeout copyFiles".split()
)
"""How and where to work, and what is always kept: no matter of the workflow here."""


def p(**takes: str | tuple[str, Convert]) -> dict[str, tuple[str, Convert]]:
    """Parameters by Scipion's name: ours, or ours and a conversion."""
    return {name: (ours, same) if isinstance(ours, str) else ours for name, ours in takes.items()}


SERIES = ("inputSetOfTiltSeries", "inTsSet", "inputTiltSeries")
"""Names that Scipion's protocols have for their tilt series."""
