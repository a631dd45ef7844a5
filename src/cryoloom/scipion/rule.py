"""Rules of translation, and conversions of values.

Lengths in pixels are converted to angstrom if the pixel size is known from the import.
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
    """A value has no counterpart; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Context of a conversion."""

    values: Mapping[str, Any]
    """All parameters of the protocol."""
    pixel_size_angstrom: float | None
    """Pixel size of the protocol's input; None if only the mdoc contains it."""
    voxel_binning: float | None = None
    """Voxel size of the tomogram over the pixel size of its images; None if it is not known."""
    before: frozenset[str] = frozenset()
    """Earlier steps of its input."""


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
    """Our value for a number in a list of choices; None if there is no counterpart."""

    def chosen(value: Any, around: Surroundings) -> Any:
        index = int(value)
        if not 0 <= index < len(choices) or choices[index] is None:
            raise NotTranslatedError(f"choice {value} has no counterpart")
        return choices[index]

    return chosen


def if_positive(value: Any, around: Surroundings) -> Any:
    """The value; 0 and less mean that nothing is requested."""
    if float(value) <= 0:
        raise NotTranslatedError("it requests nothing")
    return value


def point_group(value: Any, around: Surroundings) -> str:
    """A point group; EMAN, Dynamo and Xmipp write it in lower case."""
    return str(value).strip().upper()


def only_if(parameter: str, value: Any, convert: Convert) -> Convert:
    """A conversion that applies only if another parameter has a value."""

    def converted(given: Any, around: Surroundings) -> Any:
        if around.values.get(parameter) != value:
            raise NotTranslatedError(f"{parameter} does not request it")
        return convert(given, around)

    return converted


def views_of_file(value: Any, around: Surroundings) -> dict[str, list[int]]:
    """View numbers by series, read from a file with lines such as ``TS_01 1,38-41``."""
    try:
        return {name: list(views) for name, views in read_excluded_views(Path(str(value))).items()}
    except UserInputError as error:
        raise NotTranslatedError(error.message) from error


def first(convert: Convert) -> Convert:
    """The first of a pair such as '0.33 0.33': here one number is used for x and y."""
    return lambda value, around: convert(float(str(value).split()[0]), around)


@dataclass(frozen=True, slots=True)
class Piece:
    """The step, or one of several steps, into which a protocol is translated."""

    step: str
    takes: Mapping[str, tuple[str, Convert]] = field(default_factory=dict)
    """Our parameter and the conversion, by Scipion's parameter."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the step that the protocol implies."""
    derives: Mapping[str, Callable[[Surroundings], Any]] = field(default_factory=dict)
    """Parameters that follow from several of Scipion's or from earlier steps; None leaves them unset."""
    when: Callable[[Mapping[str, Any]], bool] = lambda values: True
    outputs: str = ""
    """Pattern of the names of outputs that this step makes; the last step makes all others."""
    renames: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """Parameters with another name for some values."""
    keeps_voxels: bool = False
    """Whether the voxel size equals the pixel size of the input."""
    binning: str = ""
    """Scipion's parameter for the binning of this step."""
    upstream: Mapping[str, Mapping[str, tuple[str, Convert]]] = field(default_factory=dict)
    """Parameters that belong to an earlier step, by step."""
    for_roles: bool = False
    """Whether this piece takes the further inputs instead of the last; without them it is left out."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Translation of one protocol."""

    pieces: tuple[Piece, ...] = ()
    """Steps that the protocol becomes; empty if it is part of the step before, whose output it then has."""
    inputs: tuple[str, ...] = ()
    """Names of the main input, in all versions of the plugin."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Our role of a further input, by Scipion's parameter."""
    ctf: str = ""
    """Input with the CTF, which is part of the series here."""
    through: bool = False
    """Whether the main input is the source of the protocol's input (for picks: the tomograms)."""
    upstream: Mapping[str, Mapping[str, tuple[str, Convert]]] = field(default_factory=dict)
    """Parameters that belong to an earlier step, by step, for a protocol without pieces."""
    part_of_next: bool = False
    """Whether the protocol is part of the next protocol's step."""
    quiet: Mapping[str, Any] = field(default_factory=dict)
    """Values that need no translation, because they request nothing or something that is always done. None:
    any value; a tuple: each of its values."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Reason why a parameter has no counterpart."""
    counts_if: Mapping[str, Callable[[Mapping[str, Any]], bool]] = field(default_factory=dict)
    """Parameters that Scipion always writes, but ignores unless others have certain values."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Scipion's default of a parameter that is missing in a file, if it matters and our default differs."""
    stated: str = ""
    """Replacement of a protocol that has no step. The next protocols take its input."""
    rescales: str = ""
    """Parameter with the binning of a protocol without pieces; "?" if the binning is not known."""


MACHINE_PARAMETERS = frozenset(
    "_useQueue _queueParams _prerequisites runName runMode hostName numberOfThreads numberOfMpi gpuList "
    "useGpu doGpu gpusToUse binThreads numCpus pooledSubtomos allParticlesRam scratchDir combineItersDisc "
    "parallelDiscIO keepOnlyLastIterFiles deleteGenMFiles importAction anglesFrom mdocInfo EERtext memory "
    "streamingSleepOnWait doEvenOdd processOddEven outImod saveStack ccmatrixBatch keepHdfFile "
    "useDynamoGui dataStreaming timeout fileTimeout copyFiles streamingBatchSize removeIndivImgs hugeFile "
    "GPUIDs gpuMsg cleanTmps saveFiles keepAllFiles threadsPostProc make3dThread zChunk".split()
)
"""Parameters for machine resources and for outputs that are always kept; they are not translated."""


def p(**takes: str | tuple[str, Convert]) -> dict[str, tuple[str, Convert]]:
    """Parameters by Scipion's name: our name, or our name and a conversion."""
    return {name: (ours, same) if isinstance(ours, str) else ours for name, ours in takes.items()}


OPTIONS = "options for the command line of a program"
"""Reason why a protocol's free text has no counterpart."""

SERIES = ("inputSetOfTiltSeries", "inTsSet", "inputTiltSeries")
"""Names of the tilt series in Scipion's protocols."""
