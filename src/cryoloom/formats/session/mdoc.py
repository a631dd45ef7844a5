"""mdoc files of SerialEM and Tomo5: one per tilt series, or one per movie (FrameSet).

Keys may come in any order, values may hold "=", lines may end as on Windows, numbers may have decimal commas
(`numbers`). Units become cryoloom's: angstrom, degrees, e/A^2, underfocus positive. A value that is
impossible (`model.limits`) is as good as missing.
"""

from __future__ import annotations

import codecs
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.numbers import AmbiguousNumberError, parse_numbers
from cryoloom.formats.session.tilt_axis import AxisReading, read_tilt_axis
from cryoloom.model.limits import plausible

__all__ = ["Mdoc", "MdocSection", "parse_date", "read_mdoc"]

_MONTHS = {
    name: month
    for month, names in enumerate(
        # English, then German, French, Spanish and Italian, as Windows writes them in a local format.
        (
            "jan ene gen", "feb fév fev", "mar mär mrz", "apr avr abr", "may mai mag", "jun jui giu",
            "jul juil lug", "aug aoû aou ago", "sep set", "oct okt ott", "nov", "dec dez déc dic",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
"""Months by their first letters."""
_HEADING = re.compile(r"^\[\s*(\w+)\s*=\s*(.*?)\s*\]\s*$")
_N_VALUES = {
    "ImageSize": 2,
    "MinMaxMean": 3,
    "StagePosition": 2,
    "ImageShift": 2,
    "FilterSlitAndLoss": 2,
    "UncroppedSize": 2,
    "FrameDosesAndNumber": None,
    "FrameTSStartEndFrames": None,
    "PieceCoordinates": 3,
}
"""How many numbers a key holds, where it is not one; None if the number varies."""
_DATE = re.compile(
    r"(\d{1,4})[-/ .]([^\W\d_]{3,}\.?|\d{1,2})[-/ .](\d{1,4})[T\s]+(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)"
    r"(?:\s*([AP])\.?M\b)?",
    re.IGNORECASE,
)

_NUMERIC_KEYS = {
    *_N_VALUES,
    *("TiltAngle", "ExposureDose", "PixelSpacing", "Voltage", "TargetDefocus", "Defocus", "RotationAngle"),
    *("PriorRecordDose", "DoseRate", "ExposureTime", "Binning", "CountsPerElectron", "NumSubFrames"),
}


@dataclass(frozen=True, slots=True)
class MdocSection:
    """One image: ``kind`` is ZValue, FrameSet or Image, ``number`` its section in the stack."""

    kind: str
    number: int
    values: Mapping[str, str]
    year_first: bool = False
    """Whether a date of two-digit parts begins with the year, as Tomo5 writes it (22-Feb-04 is in 2022)."""

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
        return plausible("tilt angle", self.number_of("TiltAngle"))

    @property
    def acquired_at(self) -> datetime | None:
        """When the image was taken, by the microscope's clock."""
        return parse_date(self.values.get("DateTime", ""), year_first=self.year_first)

    @property
    def movie_name(self) -> str | None:
        """File name of the movie, without the folders of the microscope's computer."""
        return self._movie_path[-1] or None

    @property
    def movie_folders(self) -> tuple[str, ...]:
        """Folders of the movie on the microscope's computer, the one that contains it first."""
        return tuple(name for name in self._movie_path[-2::-1] if name)

    @property
    def _movie_path(self) -> list[str]:
        return re.split(r"[\\/]", self.values.get("SubFramePath", "").strip())

    @property
    def n_frames(self) -> int | None:
        """Frames of the movie; None if the file gives one or none, which it does of any movie."""
        n = self.number_of("NumSubFrames")
        return int(n) if n is not None and n > 1 else None

    @property
    def target_defocus_angstrom(self) -> float | None:
        """Defocus requested, underfocus positive; None if the file gives none."""
        for key in ("TargetDefocus", "Defocus"):
            micrometre = self.number_of(key)
            if micrometre is not None and micrometre < 0:
                return plausible("defocus", -micrometre * 1e4)
        return None

    @property
    def prior_dose_per_angstrom2(self) -> float | None:
        """Dose the specimen had before this image."""
        return plausible("dose", self.number_of("PriorRecordDose"))

    @property
    def pixel_size_angstrom(self) -> float | None:
        """Pixel size of the image."""
        return plausible("pixel size", self.number_of("PixelSpacing"))

    @property
    def is_continuous_tilt(self) -> bool:
        """Whether the movie was taken while the stage rotated: frames of many tilts in one file."""
        return "FrameTSStartEndFrames" in self.values

    def dose_per_angstrom2(self) -> tuple[float, str] | None:
        """Dose of the image and the key it was found by; None if the file does not contain it."""
        doses = self.doses_per_angstrom2()
        return doses[0] if doses else None

    def doses_per_angstrom2(self) -> list[tuple[float, str]]:
        """Doses by all keys that give one, and the keys.

        Precedence: ExposureDose, FrameDosesAndNumber, DoseRate (electrons per unbinned pixel and second)
        times ExposureTime, mean counts over CountsPerElectron.
        """
        candidates = (
            ("ExposureDose", self.number_of("ExposureDose")),
            ("FrameDosesAndNumber", self._dose_of_frames()),
            ("DoseRate", self._dose_of_rate()),
            ("MinMaxMean", self._dose_of_counts()),
        )
        return [
            (dose, name) for name, dose in candidates if dose is not None and math.isfinite(dose) and dose > 0
        ]

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
    def pixel_sizes_angstrom(self) -> tuple[float, ...]:
        """Possible pixel sizes of the header and then of the sections."""
        sizes = [
            _numbers(self.header, "PixelSpacing")[:1],
            *(s.numbers("PixelSpacing")[:1] for s in self.sections),
        ]
        return tuple(size for one in sizes if one and (size := plausible("pixel size", one[0])) is not None)

    @property
    def pixel_size_angstrom(self) -> float | None:
        """Pixel size of the images, which may be binned against the movies.

        1 is written by programs that do not know it: other values in the file take precedence.
        """
        sizes = self.pixel_sizes_angstrom
        return next((size for size in sizes if abs(size - 1.0) > 1e-6), None)

    @property
    def image_shape_yx(self) -> tuple[int, int] | None:
        """Shape of the images, which may be binned against the movies."""
        size = _numbers(self.header, "ImageSize")
        fits = len(size) == 2 and min(size) > 0 and max(size) < 1e6
        return (int(size[1]), int(size[0])) if fits else None

    @property
    def voltage_kv(self) -> float | None:
        """Acceleration voltage; volts and kilovolts are distinguished."""
        found = [_numbers(self.header, "Voltage"), *(section.numbers("Voltage") for section in self.sections)]
        for values in found:
            kilovolt = values[0] / 1e3 if values and values[0] >= 1e4 else values[0] if values else None
            if plausible("voltage", kilovolt) is not None:
                return kilovolt
        return None

    @property
    def is_tomo5(self) -> bool:
        """Whether Thermo Fisher's Tomography wrote the file."""
        return any(re.match(r"\s*Tomography\b", title) or "TiltAxisAngle" in title for title in self.titles)

    @property
    def is_serialem(self) -> bool:
        """Whether SerialEM wrote the file."""
        return any("SerialEM" in text for text in (*self.titles, *self.header.values()))

    @property
    def axis(self) -> AxisReading | None:
        """Tilt axis from +y, counter-clockwise, by which field, and what else the fields may mean."""
        rotations = [r for s in self.sections if (r := s.number_of("RotationAngle")) is not None]
        return read_tilt_axis(self.titles, rotations, is_serialem=self.is_serialem, is_tomo5=self.is_tomo5)

    @property
    def tilt_axis_deg(self) -> tuple[float, str] | None:
        """Tilt axis from +y, counter-clockwise, and the field that gives it."""
        reading = self.axis
        return None if reading is None else (reading.axis_deg, reading.by)

    @property
    def is_montage(self) -> bool:
        """Whether the images are pieces of a map."""
        return any("PieceCoordinates" in section.values for section in self.sections)


def read_mdoc(path: str | os.PathLike[str]) -> Mdoc:
    """Read an mdoc; raises DataUnfitError if it is missing or contains no image."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataUnfitError(f"{path} does not exist") from None
    text = decoded(raw)
    header: dict[str, str] = {}
    titles: list[str] = []
    sections: list[MdocSection] = []
    values = header
    year_first = bool(re.search(r"\[?T\s*=\s*Tomography\b", text))
    for i_line, line in enumerate(text.splitlines(), start=1):
        heading = _HEADING.match(line.strip())
        if heading and heading[1] == "T":
            titles.append(heading[2])
        elif heading:
            values = {}
            number = re.match(r"-?\d+", heading[2])
            section = int(number[0]) if number else len(sections)
            sections.append(MdocSection(heading[1], section, values, year_first))
        elif "=" in line:
            key, value = (part.strip() for part in line.split("=", 1))
            if key == "T":  # FrameSet files have titles without brackets
                titles.append(value)
            else:
                _require_readable(path, i_line, key, value)
                values[key] = value
    images = tuple(section for section in sections if section.kind in ("ZValue", "FrameSet", "Image"))
    if not images:
        raise DataUnfitError(
            f"{path.name} describes no image; expected sections like [ZValue = 0] as SerialEM and Tomo5 write"
        )
    return Mdoc(path, header, tuple(titles), images)


def decoded(raw: bytes) -> str:
    """Text of a file that an editor may have saved in another encoding: UTF-8, UTF-16, else Latin-1."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # any byte is a character there; names of operators and folders


def _require_readable(path: Path, i_line: int, key: str, value: str) -> None:
    """Raise DataUnfitError if a number has a comma that can be read in two ways."""
    if "," not in value or key not in _NUMERIC_KEYS:
        return
    try:
        found = parse_numbers(value, _N_VALUES.get(key, 1))
    except AmbiguousNumberError as error:
        raise DataUnfitError(f"line {i_line} of {path.name}, {key}: {error}") from None
    if not found:
        raise DataUnfitError(
            f"line {i_line} of {path.name} is {key} = {value[:40]!r}; expected a number with a decimal point"
        )


def parse_date(text: str, *, year_first: bool = False) -> datetime | None:
    """Read a date as ``30-Nov-15  15:21:38`` or ``24-Mar-2023 12:13:13``, for any locale.

    year_first : a date of two-digit parts begins with the year.
    """
    match = _DATE.search(text)
    if not match:
        return None
    first, middle, last = match[1], match[2], match[3]
    month = _month_of_name(middle) if middle[0].isalpha() else int(middle)
    begins_with_year = len(first) == 4 or (year_first and len(last) <= 2)
    day, year = (int(last), int(first)) if begins_with_year else (int(first), int(last))
    if month > 12 >= day:  # 11/28/2026
        day, month = month, day
    year += 2000 if year < 100 else 0  # no camera is older
    hour, seconds = int(match[4]), float(match[6])
    if match[7]:
        hour = hour % 12 + (12 if match[7].upper() == "P" else 0)
    try:
        return datetime(year, month, day, hour, int(match[5]), int(seconds), int(seconds % 1 * 1e6))
    except ValueError:
        return None


def _month_of_name(name: str) -> int:
    """Number of a month by its name or the beginning of it; 0 where it is none."""
    letters = name.lower()
    return next((_MONTHS[letters[:n]] for n in (4, 3) if letters[:n] in _MONTHS), 0)


def _numbers(values: Mapping[str, str], key: str) -> tuple[float, ...]:
    try:
        return parse_numbers(values.get(key, ""), _N_VALUES.get(key, 1))
    except AmbiguousNumberError:
        return ()
