"""Weight each tilt for radiation damage by frequency. Grant & Grigorieff, eLife 4:e06980 (2015).

The amplitude at frequency k after a dose N is ``exp(-N / 2 Ne(k))`` with the critical exposure ``Ne = 0.24499
k^-1.6649 + 2.8141`` e/A^2 at 300 kV (0.8 of it at 200 kV). N is the dose of all tilts recorded before. An
image contains the mean damage from the start to the end of its exposure, so that mean is the default; other
programs use the dose at the end (cisTEM, RELION), which is an option. The unweighted stack is kept, and
weighted images are not stored: they are computed from it when they are read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.series.derived_pixels import DoseWeighted
from cryoloom.algorithms.series.dose import dose_weights, mean_dose_weights
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import DataUnfitError
from cryoloom.model import Pixels, Tilt, TiltSeries

__all__ = ["WeightDoseParams", "weight_dose"]


class WeightDoseParams(StepParams):
    """Parameters of dose weighting."""

    dose_point: Literal["mean", "end"] = Field(
        "mean",
        description="mean: mean damage over each tilt's exposure. end: damage at the end of it (cisTEM, "
        "RELION).",
    )
    extra_dose_per_angstrom2: float = Field(
        0.0,
        ge=0,
        description="Dose in e/A^2 before the first tilt, for example from focusing.",
    )


def _bytes_needed(series: TiltSeries, params: WeightDoseParams) -> int:
    """No image is read."""
    return 1 << 23


FIGURES = (
    Figure(
        "half_amplitude_last_angstrom",
        "angstrom",
        "Detail preserved in the last tilt",
        "Dose weighting halves the amplitude of detail of this size in the most damaged image. Finer detail "
        "is preserved in earlier images.",
    ),
)


def _weight_ahead(series: TiltSeries, params: WeightDoseParams, context: StepContext) -> TiltSeries | None:
    """The same for the tilts that exist: nothing is computed before it is read."""
    return None if _lacks_dose(series) else weight_dose(series, params, context)


@step(
    "weight_dose",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    usual_time=UsualTime(0.1),
    ahead=_weight_ahead,
    citations=("Grant & Grigorieff, eLife 4:e06980 (2015), doi:10.7554/eLife.06980",),
    ignores_exclusions=True,
    methods="Images were weighted by their accumulated dose.",
    figures=FIGURES,
)
def weight_dose(series: TiltSeries, params: WeightDoseParams, context: StepContext) -> TiltSeries:
    """Attenuate the frequencies that radiation destroyed, by the accumulated dose of each tilt."""
    _require_dose(series)
    stack = series.unweighted_stack
    doses: list[tuple[float, float] | None] = [None] * stack.images.shape[0]
    for tilt in series.tilts:
        if tilt.section is not None:
            doses[tilt.section] = (
                params.extra_dose_per_angstrom2 + tilt.dose_start_per_angstrom2,
                params.extra_dose_per_angstrom2 + tilt.dose_end_per_angstrom2,
            )
        elif not tilt.is_excluded:
            raise DataUnfitError(
                "a tilt has no section in the stack; align or import the series again",
                series=series.name,
                acquisition_index=tilt.acquisition_index,
            )

    def weighted(pixels: Pixels) -> DoseWeighted:
        voltage_kv, pixel_size = series.microscope.voltage_kv, stack.pixel_size_angstrom
        return DoseWeighted(pixels, tuple(doses), params.dose_point, voltage_kv, pixel_size)

    last = max(series.tilts, key=lambda tilt: tilt.dose_end_per_angstrom2)
    context.figure(
        "half_amplitude_last_angstrom", _half_amplitude_angstrom(last, series.microscope.voltage_kv, params)
    )
    return replace(series, weighted=stack.of_each(weighted))


def _lacks_dose(series: TiltSeries) -> bool:
    return all(tilt.dose_end_per_angstrom2 <= 0 for tilt in series.tilts)


def _require_dose(series: TiltSeries) -> None:
    """Refuse a series without doses: weighting would have no effect."""
    if _lacks_dose(series):
        raise DataUnfitError(
            "the series has no dose; give the dose per tilt at the import, or leave weight_dose out",
            series=series.name,
        )


def _weights(
    tilt: Tilt, frequency_per_angstrom: NDArray[np.float64], voltage_kv: float, params: WeightDoseParams
) -> NDArray[np.float64]:
    """Amplitude weights of a tilt."""
    start = params.extra_dose_per_angstrom2 + tilt.dose_start_per_angstrom2
    end = params.extra_dose_per_angstrom2 + tilt.dose_end_per_angstrom2
    if params.dose_point == "end":
        return dose_weights(frequency_per_angstrom, end, voltage_kv)
    return mean_dose_weights(frequency_per_angstrom, start, end, voltage_kv)


def _half_amplitude_angstrom(tilt: Tilt, voltage_kv: float, params: WeightDoseParams) -> float:
    """Finest detail whose weight in a tilt is at least a half."""
    frequency = np.linspace(1e-3, 1.0, 4000)
    kept = frequency[_weights(tilt, frequency, voltage_kv, params) >= 0.5]
    return float(1.0 / kept[-1]) if len(kept) else 1000.0
