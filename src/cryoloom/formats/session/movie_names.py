"""What acquisition programs write into the names of movies: series, number, tilt and time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

__all__ = ["MovieName", "read_movie_name"]

# An angle with its decimal point is distinguished from the digits of numbers and dates, so it is tried first.
# "TS_01_000_0.0.tif", "s_mmm_00993_33.0_Oct08_07.39.05.tif", "Position_10_001_-20.00_20230324_121311_EER.eer"
_NAMES = [
    re.compile(rf"^(?P<series>.+?)[_-](?P<number>\d{{2,}})[_-](?P<tilt>{angle})(?:[_.].*)?$")
    for angle in (r"[-+]?\d+\.\d+", r"[-+]?\d+(?:\.\d+)?")
]
# "017_01.mrc": no tilt, the number last
_NUMBERED = re.compile(r"^(?P<series>.+?)[_-](?P<number>\d{2,})\.\w+$")
_DIGITS_TIME = re.compile(r"(?<!\d)(20\d{6})[_-](\d{6})(?!\d)")
_SERIALEM_TIME = re.compile(r"_([A-Z][a-z]{2})(\d{2})_(\d{2})\.(\d{2})\.(\d{2})(?!\d)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_YEAR = 2000
"""SerialEM writes none; a leap year holds every day."""


@dataclass(frozen=True, slots=True)
class MovieName:
    """Parts of a name; None if it has no such part."""

    series: str | None = None
    number: int | None = None
    tilt_deg: float | None = None
    acquired_at: datetime | None = None
    """Year 2000 where the name gives no year."""


def read_movie_name(name: str) -> MovieName:
    """Parts of a movie's file name."""
    acquired_at = _time(name)
    for pattern in _NAMES:
        match = pattern.match(name)
        if match and abs(float(match["tilt"])) <= 90.0:
            return MovieName(match["series"], int(match["number"]), float(match["tilt"]), acquired_at)
    match = _NUMBERED.match(name)
    if match:
        return MovieName(None, int(match["number"]), None, acquired_at)
    return MovieName(acquired_at=acquired_at)


def _time(name: str) -> datetime | None:
    try:
        if match := _DIGITS_TIME.search(name):
            return datetime.strptime(match[1] + match[2], "%Y%m%d%H%M%S")
        if (match := _SERIALEM_TIME.search(name)) and match[1] in _MONTHS:
            month = _MONTHS.index(match[1]) + 1
            return datetime(_NO_YEAR, month, int(match[2]), int(match[3]), int(match[4]), int(match[5]))
    except ValueError:
        pass
    return None
