"""mdoc files of SerialEM and Tomo5: one per tilt series, or one per movie (FrameSet).

Keys may come in any order, values may hold "=", lines may end as on Windows. Units become cryoloom's:
angstrom, degrees, e/A^2, underfocus positive.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryoloom.errors import DataUnfitError

__all__ = ["Mdoc", "MdocSection", "parse_date", "read_mdoc"]

_MONTHS = {
    name: i for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}
_HEADING = re.compile(r"^\[\s*(\w+)\s*=\s*(.*?)\s*\]\s*$")
_AXIS_TITLE = re.compile(r"tilt\s*axis\s*angle\s*=\s*([-+]?\d+(?:\.\d*)?)", re.IGNORECASE)
_DATE = re.compile(
    r"(\d{1,4})[-/ .]([A-Za-z]{3,}|\d{1,2})[-/ .](\d{1,4})[T\s]+(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)"
)


@dataclass(frozen=True, slots=True)
class MdocSection:
    """One image: ``kind`` is ZValue, FrameSet or Image, ``number`` its section in the stack."""

    kind: str
    number: int
    values: Mapping[str, str]

    def numbers(self, key: str) -> tuple[float, ...]:
        """Values of a key as numbers; empty where it is missing or holds none."""
        return _numbers(self.values, key)

    def number_of(self, key: str) -> float | None:
        """First value of a key as a finite number."""
        found = self.numbers(key)
        return found[0] if found and math.isfinite(found[0]) else None

    @property
    def tilt_deg(self) -> float | None:
        """Tilt of the stage."""
        return self.number_of("TiltAngle")

    @property
    def acquired_at(self) -> datetime | None:
        """When the image was taken, by the microscope's clock."""
        return parse_date(self.values.get("DateTime", ""))

    @property
    def movie_name(self) -> str | None:
        """File name of the movie, without the folders of the microscope's computer."""
        return re.split(r"[\\/]", self.values.get("SubFramePath", "").strip())[-1] or None

    @property
    def n_frames(self) -> int | None:
        """Frames of the movie; None where the file tells one or none, which it does of any movie."""
        told = self.number_of("NumSubFrames")
        return int(told) if told is not None and told > 1 else None

    @property
    def target_defocus_angstrom(self) -> float | None:
        """Defocus asked for, underfocus positive; None where the file tells none."""
        for key in ("TargetDefocus", "Defocus"):
            micrometre = self.number_of(key)
            if micrometre is not None and micrometre < 0:
                return -micrometre * 1e4
        return None

    @property
    def prior_dose_per_angstrom2(self) -> float | None:
        """Dose the specimen had before this image."""
        return self.number_of("PriorRecordDose")

    @property
    def pixel_size_angstrom(self) -> float | None:
        """Pixel size of the image."""
        size = self.number_of("PixelSpacing")
        return size if size is not None and size > 0 else None

    def dose_per_angstrom2(self) -> tuple[float, str] | None:
        """Dose of the image and the key it was found by; None where the file does not tell.

        Precedence: ExposureDose, FrameDosesAndNumber, DoseRate (electrons per unbinned pixel and second)
        times ExposureTime, mean counts over CountsPerElectron.
        """
        candidates = (
            ("ExposureDose", self.number_of("ExposureDose")),
            ("FrameDosesAndNumber", self._dose_of_frames()),
            ("DoseRate", self._dose_of_rate()),
            ("MinMaxMean", self._dose_of_counts()),
        )
        for name, dose in candidates:
            if dose is not None and math.isfinite(dose) and dose > 0:
                return dose, name
        return None

    def _dose_of_frames(self) -> float | None:
        pairs = self.numbers("FrameDosesAndNumber")
        return sum(dose * n for dose, n in zip(pairs[0::2], pairs[1::2], strict=False)) if pairs else None

    def _dose_of_rate(self) -> float | None:
        rate, seconds, size = (
            self.number_of("DoseRate"),
            self.number_of("ExposureTime"),
            self.pixel_size_angstrom,
        )
        if rate is None or seconds is None or size is None:
            return None
        return rate * seconds / (size / (self.number_of("Binning") or 1.0)) ** 2

    def _dose_of_counts(self) -> float | None:
        counts, per_electron, size = (
            self.numbers("MinMaxMean"),
            self.number_of("CountsPerElectron"),
            self.pixel_size_angstrom,
        )
        if len(counts) < 3 or not per_electron or size is None:
            return None
        halved = 2.0 if self.number_of("DividedBy2") else 1.0
        return halved * counts[2] / per_electron / size**2


@dataclass(frozen=True, slots=True)
class Mdoc:
    """A whole file: keys before the first image, title lines, and the images in the order of the file."""

    path: Path
    header: Mapping[str, str]
    titles: tuple[str, ...]
    sections: tuple[MdocSection, ...]

    @property
    def pixel_size_angstrom(self) -> float | None:
        """Pixel size of the images, which may be binned against the movies."""
        sizes = [
            _numbers(self.header, "PixelSpacing")[:1],
            *(s.numbers("PixelSpacing")[:1] for s in self.sections),
        ]
        return next((size[0] for size in sizes if size and size[0] > 0), None)

    @property
    def image_shape_yx(self) -> tuple[int, int] | None:
        """Shape of the images, which may be binned against the movies."""
        size = _numbers(self.header, "ImageSize")
        return (int(size[1]), int(size[0])) if len(size) == 2 and min(size) > 0 else None

    @property
    def voltage_kv(self) -> float | None:
        """Acceleration voltage."""
        found = [_numbers(self.header, "Voltage"), *(section.numbers("Voltage") for section in self.sections)]
        return next((values[0] for values in found if values and values[0] > 0), None)

    @property
    def tilt_axis_deg(self) -> tuple[float, str] | None:
        """Tilt axis from +y, counter-clockwise, and where the file tells it.

        The title line comes first. SerialEM's RotationAngle is that of the image's x axis: 90 more. Tomo5
        keeps another convention under that name, so that it is believed in SerialEM's files only.
        """
        for title in self.titles:
            match = _AXIS_TITLE.search(title)
            if match:
                return float(match[1]), "title"
        if any("SerialEM" in text for text in (*self.titles, *self.header.values())):
            rotation = next(
                (r for s in self.sections if (r := s.number_of("RotationAngle")) is not None), None
            )
            if rotation is not None:
                return (rotation - 90.0 + 180.0) % 360.0 - 180.0, "RotationAngle"
        return None

    @property
    def is_montage(self) -> bool:
        """Whether the images are pieces of a map."""
        return any("PieceCoordinates" in section.values for section in self.sections)


def read_mdoc(path: str | os.PathLike[str]) -> Mdoc:
    """Read an mdoc; raises DataUnfitError if it is missing or holds no image."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataUnfitError(f"{path} does not exist") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # any byte is a character there; names of operators and folders
    header: dict[str, str] = {}
    titles: list[str] = []
    sections: list[MdocSection] = []
    values = header
    for line in text.splitlines():
        heading = _HEADING.match(line.strip())
        if heading and heading[1] == "T":
            titles.append(heading[2])
        elif heading:
            values = {}
            number = re.match(r"-?\d+", heading[2])
            sections.append(MdocSection(heading[1], int(number[0]) if number else len(sections), values))
        elif "=" in line:
            key, value = (part.strip() for part in line.split("=", 1))
            if key == "T":  # FrameSet files have titles without brackets
                titles.append(value)
            else:
                values[key] = value
    images = tuple(section for section in sections if section.kind in ("ZValue", "FrameSet", "Image"))
    if not images:
        raise DataUnfitError(
            f"{path.name} describes no image; expected sections like [ZValue = 0] as SerialEM and Tomo5 write"
        )
    return Mdoc(path, header, tuple(titles), images)


def parse_date(text: str) -> datetime | None:
    """Read a date as ``30-Nov-15  15:21:38`` or ``24-Mar-2023 12:13:13``, whatever the locale."""
    match = _DATE.search(text)
    if not match:
        return None
    first, middle, last = match[1], match[2], match[3]
    month = _MONTHS.get(middle[:3].lower(), 0) if middle[0].isalpha() else int(middle)
    day, year = (int(last), int(first)) if len(first) == 4 else (int(first), int(last))
    year += 2000 if year < 100 else 0  # no camera is older
    seconds = float(match[6])
    try:
        return datetime(year, month, day, int(match[4]), int(match[5]), int(seconds), int(seconds % 1 * 1e6))
    except ValueError:
        return None


def _numbers(values: Mapping[str, str], key: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in values.get(key, "").replace(",", " ").split())
    except ValueError:
        return ()
