"""A tilt series as it will be before a later step, for estimates of memory and disk before anything ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.step import MemoryEstimate, StepParams
from cryoloom.errors import CryoloomError
from cryoloom.model import Pose, Stack, TiltSeries

__all__ = ["foreseen_bytes", "foreseen_series"]


@dataclass(frozen=True, slots=True)
class _ShapeAlone:
    """Pixels that are not made yet: their shape is known, their values are not."""

    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(np.float32)

    def __getitem__(self, index: Any, /) -> NDArray[np.float32]:
        raise ValueError("these pixels are only planned")


def foreseen_series(series: TiltSeries) -> TiltSeries:
    """The series with a stack of all its movies' shape and with nominal poses, where it has none yet."""
    movies = [tilt.movie for tilt in series.tilts if tilt.movie is not None]
    if series.stack is None and movies:
        shape = (len(series.tilts), *movies[0].shape_yx)
        series = replace(series, stack=Stack(_ShapeAlone(shape), series.pixel_size_angstrom))
        series = series.with_tilts({t.acquisition_index: {"section": i} for i, t in enumerate(series.tilts)})
    axis = series.tilt_axis_deg.applied or 0.0
    return series.with_tilts(
        {
            tilt.acquisition_index: {"pose": tilt.pose or Pose(axis, float(angle))}
            for tilt, angle in zip(series.tilts, series.tilt_deg, strict=True)
        }
    )


def foreseen_bytes(
    estimate: MemoryEstimate | None, series: Iterable[TiltSeries], params: StepParams
) -> list[int]:
    """Bytes that a step declares for each series, without series for which it cannot be computed yet."""
    found: list[int] = []
    for one in series if estimate is not None else ():
        try:
            found.append(int(estimate(one, params)))  # type: ignore[misc]
        except (CryoloomError, ValueError):  # it needs pixels, or results of an earlier step
            continue
    return found
