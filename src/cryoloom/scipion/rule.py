"""Rules of translation, and the conversions of values they use.

Lengths in pixels become angstrom if the pixel size is known from the import.
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
    "OPTIONS",
    "SERIES",
    "Convert",
    "NotTranslatedError",
    "Piece",
    "Rule",
    "Surroundings",
    "first",
    "if_positive",
    "one_of",
    "only_if",
    "p",
    "pixels",
    "point_group",
    "same",
    "times",
    "views_of_file",
]


class NotTranslatedError(Exception):
    """A value has no counterpart here; the text says why."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Context of a conversion besides the value."""

    values: Mapping[str, Any]
    """All parameters of the protocol."""
    pixel_size_angstrom: float | None
    """Of the images or voxels the protocol gets; None if only the mdoc contains it."""
    voxel_binning: float | None = None
    """Size of the tomogram's voxels over that of the images it was made from; None if it is not known."""
    before: frozenset[str] = frozenset()
    """Steps that its input came through."""


Convert = Callable[[Any, Surroundings], Any]


def same(value: Any, around: Surroundings) -> Any:
    """The value unchanged."""
    return value


def times(factor: float) -> Convert:
    """The value in another unit."""
    return lambda value, around: float(value) * factor


def pixels(value: Any, around: Surroundings) -> float:
    """Pixels of the input as angstrom."""
    if around.pixel_size_angstrom is None:
        raise NotTranslatedError(f"{value} pixels: the pixel size is known from the mdoc only")
    return round(float(str(value).split()[0]) * around.pixel_size_angstrom, 3)


def one_of(*choices: Any) -> Convert:
    """The meaning of a number in a list of choices; None means that there is no counterpart."""

    def chosen(value: Any, around: Surroundings) -> Any:
        index = int(value)
        if not 0 <= index < len(choices) or choices[index] is None:
            raise NotTranslatedError(f"choice {value} has no counterpart")
        return choices[index]

    return chosen


def if_positive(value: Any, around: Surroundings) -> Any:
    """The value, where 0 and less mean that nothing is requested."""
    if float(value) <= 0:
        raise NotTranslatedError("it requests nothing")
    return value


def point_group(value: Any, around: Surroundings) -> str:
    """A symmetry, which EMAN, Dynamo and Xmipp write in small letters."""
    return str(value).strip().upper()


def only_if(parameter: str, value: Any, convert: Convert) -> Convert:
    """A conversion that applies only if another parameter has a value."""

    def converted(given: Any, around: Surroundings) -> Any:
        if around.values.get(parameter) != value:
            raise NotTranslatedError(f"{parameter} does not request it")
        return convert(given, around)

    return converted


def views_of_file(value: Any, around: Surroundings) -> dict[str, list[int]]:
    """View numbers by series from a file of lines such as ``TS_01 1,38-41``, which is read now."""
    try:
        return {name: list(views) for name, views in read_excluded_views(Path(str(value))).items()}
    except UserInputError as error:
        raise NotTranslatedError(error.message) from error


def first(convert: Convert) -> Convert:
    """The first of a pair such as '0.33 0.33': one number serves x and y here."""
    return lambda value, around: convert(float(str(value).split()[0]), around)


@dataclass(frozen=True, slots=True)
class Piece:
    """A step that a protocol becomes, or one of several."""

    step: str
    takes: Mapping[str, tuple[str, Convert]] = field(default_factory=dict)
    """Our parameter and its conversion, by Scipion's parameter."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that the protocol implies."""
    derives: Mapping[str, Callable[[Surroundings], Any]] = field(default_factory=dict)
    """Parameters that follow from several of Scipion's, or from what came before; None leaves them unset."""
    when: Callable[[Mapping[str, Any]], bool] = lambda values: True
    outputs: str = ""
    """Pattern of the protocol's outputs that this step makes; the last step makes all others."""
    renames: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """Name of a parameter that differs for some values."""
    keeps_voxels: bool = False
    """Whether voxels are as large as the pixels of the input."""
    binning: str = ""
    """Scipion's parameter that is the binning of this step."""
    upstream: Mapping[str, Mapping[str, tuple[str, Convert]]] = field(default_factory=dict)
    """What belongs to a step further up, by step."""
    for_roles: bool = False
    """Whether this piece, not the last, takes the further inputs; it is left out where there are none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a protocol is translated."""

    pieces: tuple[Piece, ...] = ()
    """Empty if the protocol is part of the step that feeds it; its output is then that step's."""
    inputs: tuple[str, ...] = ()
    """Names that the main input has had."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Our role of a further input, by Scipion's parameter."""
    ctf: str = ""
    """The input with the CTF, which here is part of the series."""
    through: bool = False
    """The main input is what this protocol's own input was made from (picks: the tomograms)."""
    upstream: Mapping[str, Mapping[str, tuple[str, Convert]]] = field(default_factory=dict)
    """Parameters that belong to an earlier step, by step, for a protocol without pieces."""
    part_of_next: bool = False
    """Whether it is part of the next protocol's step."""
    quiet: Mapping[str, Any] = field(default_factory=dict)
    """Values that need no translation, because they request nothing or what is always done; None: any
    value, a tuple: each of its values."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Why a parameter has no counterpart."""
    counts_if: Mapping[str, Callable[[Mapping[str, Any]], bool]] = field(default_factory=dict)
    """Parameters that Scipion ignores unless others have certain values: it writes them all the same."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Scipion's value of a parameter that a file does not have, where it decides what is done and ours is
    another."""
    stated: str = ""
    """What takes the place of a protocol that becomes no step. What follows takes what it took."""
    rescales: str = ""
    """Parameter of a protocol without pieces by which it bins its input; "?" if the size is not known."""


MACHINE_PARAMETERS = frozenset(
    "_useQueue _queueParams _prerequisites runName runMode hostName numberOfThreads numberOfMpi gpuList "
    "useGpu doGpu gpusToUse binThreads numCpus pooledSubtomos allParticlesRam scratchDir combineItersDisc "
    "parallelDiscIO keepOnlyLastIterFiles deleteGenMFiles importAction anglesFrom mdocInfo EERtext memory "
    "streamingSleepOnWait doEvenOdd processOddEven outImod saveStack ccmatrixBatch keepHdfFile "
    "useDynamoGui dataStreaming timeout fileTimeout copyFiles streamingBatchSize removeIndivImgs hugeFile "
    "GPUIDs gpuMsg cleanTmps saveFiles keepAllFiles threadsPostProc make3dThread zChunk".split()
)
"""Resources of the machine, and outputs that are always kept: not part of a workflow here."""


def p(**takes: str | tuple[str, Convert]) -> dict[str, tuple[str, Convert]]:
    """Parameters by Scipion's name: ours, or ours and a conversion."""
    return {name: (ours, same) if isinstance(ours, str) else ours for name, ours in takes.items()}


OPTIONS = "options for the command line of a program"
"""Why a protocol's free text has no counterpart."""

SERIES = ("inputSetOfTiltSeries", "inTsSet", "inputTiltSeries")
"""Names that Scipion's protocols have for their tilt series."""
