"""IMOD's command files (tilt.com, newst.com): their settings of an alignment and of a tomogram's place.

IMOD's ``tilt`` (``flib/tilt/tilt.f90`` of 2014) projects the point ``(x, y, zz)`` of its slices to

``x' = x cos(tilt) + sb (y sa + zz ca)``, ``y' = y ca - zz sa``

with ``sb = -sin(tilt)``, ``sa = -sin(alpha)``, ``ca = cos(alpha)``, where ``tilt`` is the file's angle plus
OFFSET and ``alpha`` that of XTILTFILE minus XAXISTILT. With ``z = -zz`` (its slices are upside down against
ours, conventions.md) that is our ``Ry(tilt) Rx(alpha)``: both angles keep their sign. SHIFT moves the
volume's content by that much in x and zz; a second number of OFFSET moves the tilt axis in x. All are in
unbinned pixels.

IMOD's ``newstack`` (``flib/image/newstack.f90``) takes OffsetsInXandY, in pixels of its input, away from
the shift of each transform, so that the aligned image's centre shows what lay there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryoloom.errors import DataUnfitError

__all__ = [
    "NewstackCommand",
    "TiltCommand",
    "parse_list",
    "read_command",
    "read_newstack_command",
    "read_tilt_command",
]


@dataclass(frozen=True, slots=True)
class TiltCommand:
    """Geometry in a tilt.com. Pixels are those of the unbinned aligned stack."""

    tilt_offset_deg: float = 0.0
    axis_offset_px: float = 0.0
    x_axis_tilt_deg: float = 0.0
    shift_xz_px: tuple[float, float] = (0.0, 0.0)
    """z as IMOD counts it."""
    thickness_px: int | None = None
    full_image_xy: tuple[int, int] | None = None
    excluded_views: frozenset[int] = frozenset()
    """From 0."""
    has_z_factors: bool = False
    local_file: str | None = None
    binning: int = 1
    """Binning of the aligned stack that it reads."""


@dataclass(frozen=True, slots=True)
class NewstackCommand:
    """Settings of a newst.com or prenewst.com for the stack it makes."""

    binning: int = 1
    """Binning of its output relative to its input."""
    offset_xy_px: tuple[float, float] = (0.0, 0.0)
    """Pixels of the input."""
    size_xy: tuple[int, int] | None = None
    transform_file: str | None = None
    is_antialiased: bool = False


def read_command(path: Path) -> dict[str, list[str]]:
    """Entries of the first program of a command file: name in lower case, and its values' texts.

    An entry given twice (EXCLUDELIST) has both values.
    """
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DataUnfitError(f"{path} cannot be read: {error}") from error
    entries: dict[str, list[str]] = {}
    inside = False
    for line in lines:
        text = line.split("#", 1)[0].strip()
        if text.startswith("$"):
            if inside:
                break
            inside = "-StandardInput" in text
        elif text and inside:
            name, _, value = text.replace("\t", " ").replace("=", " ").partition(" ")
            entries.setdefault(name.lower(), []).append(value.strip())
    if not entries:
        raise DataUnfitError(
            f"{path} is not an IMOD command file: expected '$program -StandardInput' and entries"
        )
    return entries


def read_newstack_command(path: Path) -> NewstackCommand:
    """Read a newst.com or prenewst.com."""
    entries = read_command(path)
    try:
        binning, offset = _numbers(entries, "binbyfactor"), _numbers(entries, "offsetsinxandy")
        size, filters = _numbers(entries, "sizetooutputinxandy"), _numbers(entries, "antialiasfilter")
    except ValueError as error:
        raise DataUnfitError(f"{path} has an entry that cannot be read: {error}") from error
    if len(offset) > 2:
        raise DataUnfitError(
            f"{path} has an offset for each of {len(offset) // 2} sections; expected one for all: put them "
            "into the transforms with IMOD's xfproduct"
        )
    return NewstackCommand(
        binning=int(binning[0]) if binning else 1,
        offset_xy_px=(offset[0], offset[1]) if len(offset) == 2 else (0.0, 0.0),
        size_xy=(int(size[0]), int(size[1])) if len(size) == 2 else None,
        transform_file=entries.get("transformfile", [None])[-1],
        is_antialiased=bool(filters and filters[0] != 0),
    )


def _numbers(entries: dict[str, list[str]], name: str) -> list[float]:
    """Numbers of an entry's last value, none where it is not there."""
    return [float(word) for word in entries.get(name, [""])[-1].replace(",", " ").split()]


def read_tilt_command(path: Path) -> TiltCommand:
    """Read a tilt.com."""
    entries = read_command(path)
    try:
        offset, shift = _numbers(entries, "offset"), _numbers(entries, "shift")
        full, binning = _numbers(entries, "fullimage"), _numbers(entries, "imagebinned")
        thickness, x_tilt = _numbers(entries, "thickness"), _numbers(entries, "xaxistilt")
        excluded = [
            number
            for name in ("excludelist", "excludelist2", "exclude")
            for value in entries.get(name, [])
            for number in parse_list(value)
        ]
    except ValueError as error:
        raise DataUnfitError(f"{path} has an entry that cannot be read: {error}") from error
    return TiltCommand(
        tilt_offset_deg=offset[0] if offset else 0.0,
        axis_offset_px=offset[1] if len(offset) > 1 else 0.0,
        x_axis_tilt_deg=x_tilt[0] if x_tilt else 0.0,
        shift_xz_px=(shift[0] if shift else 0.0, shift[1] if len(shift) > 1 else 0.0),
        thickness_px=int(thickness[0]) if thickness else None,
        full_image_xy=(int(full[0]), int(full[1])) if len(full) > 1 else None,
        excluded_views=frozenset(number - 1 for number in excluded),
        has_z_factors="zfactorfile" in entries,
        local_file=entries.get("localfile", [None])[-1],
        binning=int(binning[0]) if binning else 1,
    )


def parse_list(text: str) -> list[int]:
    """Numbers of a list as IMOD writes it: ``1,4-7,12``."""
    numbers: list[int] = []
    for part in ",".join(text.split()).split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        numbers += range(int(first), int(last) + 1) if dash else [int(first)]
    return numbers
