"""The tilt axis as acquisition programs write it.

SerialEM: the title's "Tilt axis angle" is IMOD's rotation of the axis from +y, counter-clockwise, as ours.
"RotationAngle" is that of the image's x axis: 90 degrees more.

Tomography (Tomo5, Thermo Fisher Scientific) writes "TiltAxisAngle" in its title and "RotationAngle" in every
section. "TiltAxisAngle" is counted from the image's x axis, clockwise:

    axis = -TiltAxisAngle - 90

in all files known to us, for any version. "RotationAngle" is the axis itself in some files (as IMOD's
`header` and `alignframes` take it) and its negative in others:

    TiltAxisAngle -171.35, RotationAngle  81.35  ->  81.35   (Tomography of 2023, DateTime 24-Mar-2023)
    TiltAxisAngle -174.23, RotationAngle -84.23  ->  84.23   (Tomography of 2022, DateTime 22-Feb-04)

so that it only confirms the title. Alone, its sign is not known, and the images have to decide between both.
Camera and file format may mirror an image besides (TIFF is stored upside down, EER is not), which turns the
axis into its negative: that reading, too, is kept for the images to decide. None of these is certain about
which of the two ends of the axis points where: half a turn mirrors the tomogram, and only the defocus
gradient together with the microscope's known handedness can decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryoloom.model.evidence import Evidence, Source
from cryoloom.model.limits import plausible

__all__ = ["AxisReading", "axis_evidence", "read_tilt_axis", "wrapped_deg"]

_TITLE = re.compile(r"tilt(\s*)axis(\s*)angle\s*=\s*([-+]?\d+(?:[.,]\d+)?)", re.IGNORECASE)
_AGREEMENT_DEG = 0.6
"""Rounding of both fields, and of titles that give whole degrees."""


@dataclass(frozen=True, slots=True)
class AxisReading:
    """The axis of a file, by which field, and what else the fields may mean."""

    axis_deg: float
    by: str
    others: tuple[tuple[str, float], ...] = ()
    """Other meanings, by name, that images must exclude."""
    is_directed: bool = True
    """False if half a turn more is as likely: the hand of the tomogram is not known."""
    raw: tuple[tuple[str, float], ...] = ()
    """The fields as they stand in the file."""
    note: str = ""


def read_tilt_axis(
    titles: Sequence[str], rotation_angles_deg: Sequence[float], *, is_serialem: bool, is_tomo5: bool
) -> AxisReading | None:
    """The axis of an mdoc from its titles and the RotationAngle of its sections; None if none gives it."""
    title = _title_angle(titles)
    rotation = _common(rotation_angles_deg)
    raw = tuple(
        (name, value) for name, value in (("title", title), ("RotationAngle", rotation)) if value is not None
    )
    if is_tomo5:
        return _of_tomo5(title, rotation, raw)
    if title is not None:
        note = _titles_note(titles) or (_sections_note(rotation_angles_deg) if is_serialem else "")
        if rotation is not None and is_serialem and _apart(title + 90.0, rotation) > _AGREEMENT_DEG:
            note = (
                f"the title gives a tilt axis of {title:g} deg, RotationAngle {rotation:g} deg means "
                f"{wrapped_deg(rotation - 90.0):g}; the title is used, since SerialEM writes it for the "
                "series"
            )
        return AxisReading(title, "title", raw=raw, note=note)
    if rotation is not None and is_serialem:
        axis = wrapped_deg(rotation - 90.0)
        return AxisReading(axis, "RotationAngle", raw=raw, note=_sections_note(rotation_angles_deg))
    return None


def axis_evidence(reading: AxisReading | None, user_deg: float | None) -> Evidence:
    """Tilt axis according to the file and the user, and other possible meanings of the file's fields."""
    quantity = "tilt axis, degrees"
    user = () if user_deg is None else (Source("user", user_deg),)
    if reading is None:
        if user_deg is not None:
            return Evidence(quantity, user_deg, "user", user)
        note = "no tilt axis is given; give tilt_axis_deg if the alignment does not find it"
        return Evidence(quantity, None, "", (), note)
    used = f"mdoc {reading.by}"
    sources = (
        *user,
        Source(used, reading.axis_deg),
        *(
            Source(f"mdoc {name} as written", value, "in the file's own convention")
            for name, value in reading.raw
            if value != reading.axis_deg or name not in reading.by
        ),
        *(Source(name, value, "for the images to exclude") for name, value in reading.others),
    )
    if user_deg is not None:
        return Evidence(quantity, user_deg, "user", sources)
    return Evidence(quantity, reading.axis_deg, used, sources, reading.note)


def wrapped_deg(angle_deg: float) -> float:
    """The same direction within half a turn."""
    return round((angle_deg + 180.0) % 360.0 - 180.0, 6)


def _of_tomo5(
    title: float | None, rotation: float | None, raw: tuple[tuple[str, float], ...]
) -> AxisReading | None:
    if title is None and rotation is None:
        return None
    if title is None:
        axis = float(rotation or 0.0)
        sign_changed = (("RotationAngle with its sign changed", wrapped_deg(-axis)),)
        note = (
            f"Tomo5 writes RotationAngle ({axis:g} deg) with either sign, and no TiltAxisAngle confirms it; "
            "the images decide"
        )
        return AxisReading(wrapped_deg(axis), "Tomo5 RotationAngle", sign_changed, False, raw, note)
    axis = wrapped_deg(-title - 90.0)
    others: list[tuple[str, float]] = [
        ("the same of a mirrored image", wrapped_deg(-axis)),
        ("TiltAxisAngle as it stands", title),
    ]
    note = f"Tomo5 gives TiltAxisAngle {title:g} deg, which is counted from the image's x axis"
    if rotation is not None:
        note += f", and RotationAngle {rotation:g} deg"
        agrees = min(_apart(rotation, axis), _apart(-rotation, axis))
        if min(agrees, abs(agrees - 180.0)) > _AGREEMENT_DEG:
            others.append(("RotationAngle as it stands", wrapped_deg(rotation)))
            note += ", which do not fit each other"
    note += (
        f"; a tilt axis of {axis:g} deg is used and checked against the images. Half a turn more would "
        "mirror the tomogram: compare with a structure of known hand, or give tilt_axis_deg or handedness"
    )
    return AxisReading(axis, "Tomo5 TiltAxisAngle", tuple(others), False, raw, note)


def _title_angle(titles: Sequence[str]) -> float | None:
    return next(iter(_title_angles(titles)), None)


def _title_angles(titles: Sequence[str]) -> list[float]:
    """Angles that titles give, in their order; files put together from several have more than one."""
    written = [float(match[3].replace(",", ".")) for title in titles if (match := _TITLE.search(title))]
    return [angle for one in written if (angle := plausible("tilt axis", one)) is not None]


def _titles_note(titles: Sequence[str]) -> str:
    angles = _title_angles(titles)
    other = next((angle for angle in angles if _apart(angle, angles[0]) > _AGREEMENT_DEG), None)
    if other is None:
        return ""
    return f"titles of the mdoc give tilt axes of {angles[0]:g} and {other:g} deg; the first is used"


def _sections_note(rotation_angles_deg: Sequence[float]) -> str:
    """Note on sections that give different angles: images of two magnifications or cameras."""
    common = _common(rotation_angles_deg)
    fit = [value for angle in rotation_angles_deg if (value := plausible("tilt axis", angle)) is not None]
    others = [value for value in fit if common is not None and _apart(value, common) > _AGREEMENT_DEG]
    if common is None or not others:
        return ""
    return (
        f"RotationAngle is {common:g} deg for {len(fit) - len(others)} images and {others[0]:g} for "
        f"{len(others)} others, expected the same for all: were they taken at another magnification or "
        "with another camera?"
    )


def _common(angles_deg: Sequence[float]) -> float | None:
    """The angle most sections give; None if there is none."""
    fit = [value for angle in angles_deg if (value := plausible("tilt axis", angle)) is not None]
    return max(set(fit), key=fit.count) if fit else None


def _apart(a_deg: float, b_deg: float) -> float:
    return abs(wrapped_deg(a_deg - b_deg))
