"""Weight each tilt by what radiation has left of every frequency. Grant & Grigorieff, eLife 4:e06980 (2015).

The amplitude at frequency k after a dose N is ``exp(-N / 2 Ne(k))`` with the critical exposure
``Ne = 0.24499 k^-1.6649 + 2.8141`` e/A^2 at 300 kV (0.8 of it at 200 kV). N counts every exposure
taken before in order of
acquisition. A sum over one exposure recorded the mean from its start to its end, so that mean is the
default; other programs take the dose at the end (cisTEM, RELION), which is a choice here. The unweighted
stack stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.dose import dose_weights, mean_dose_weights
from cryoloom.errors import DataUnfitError
from cryoloom.model import Stack, Tilt, TiltSeries
from cryoloom.steps.declaration import StepContext, StepParams, step

__all__ = ["WeightDoseParams", "weight_dose"]


class WeightDoseParams(StepParams):
    """What a user may choose in dose weighting."""

    dose_point: Literal["mean", "end"] = Field(
        "mean",
        description="Damage taken as its mean over each exposure, or as at the end of it (cisTEM, RELION).",
    )
    extra_dose_per_angstrom2: float = Field(
        0.0,
        ge=0,
        description="Dose in e/A^2 the specimen got before the first tilt, for example while focusing.",
    )


def _bytes_needed(series: TiltSeries, params: WeightDoseParams) -> int:
    """One image, its spectrum and the filter, and what comes out."""
    n_y, n_x = series.unweighted_stack.shape_yx
    return 24 * n_y * n_x + (1 << 26)


@step(
    "weight_dose",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    citations=("Grant & Grigorieff, eLife 4:e06980 (2015), doi:10.7554/eLife.06980",),
    ignores_exclusions=True,
    methods="Images were weighted by their accumulated dose.",
)
def weight_dose(series: TiltSeries, params: WeightDoseParams, context: StepContext) -> TiltSeries:
    """Dampen the frequencies radiation has destroyed, by the dose each tilt had received.

    Quality figure: ``half_amplitude_last_angstrom``, the detail whose amplitude is halved in the most
    exposed tilt.
    """
    _require_dose(series)
    stack = series.unweighted_stack
    sources = stack.present
    sinks = {
        role: context.new_pixels(role, pixels.shape, stack.pixel_size_angstrom)
        for role, pixels in sources.items()
    }
    frequency = _frequency_per_angstrom(stack)
    for done, tilt in enumerate(series.tilts, start=1):
        if tilt.section is None and tilt.is_excluded:
            continue  # stacked anew without it
        if tilt.section is None:
            raise DataUnfitError(
                "a tilt has no section in the stack; align or import the series again",
                series=series.name,
                acquisition_index=tilt.acquisition_index,
            )
        weights = _weights(tilt, frequency, series.microscope.voltage_kv, params)
        for role, sink in sinks.items():
            sink[tilt.section] = _filtered(sources[role][tilt.section], weights, context.n_threads)
        context.progress(done, len(series.tilts))
    last = max(series.tilts, key=lambda tilt: tilt.dose_end_per_angstrom2)
    context.figure(
        "half_amplitude_last_angstrom", _half_amplitude_angstrom(last, series.microscope.voltage_kv, params)
    )
    weighted = Stack(sinks["images"], stack.pixel_size_angstrom, sinks.get("even"), sinks.get("odd"))
    return replace(series, weighted=weighted)


def _require_dose(series: TiltSeries) -> None:
    """Refuse a series in which no exposure has a dose: weighting would silently do nothing."""
    if all(tilt.dose_end_per_angstrom2 <= 0 for tilt in series.tilts):
        raise DataUnfitError(
            "the series has no dose; give the dose per tilt at import, or leave weight_dose out",
            series=series.name,
        )


def _frequency_per_angstrom(stack: Stack) -> NDArray[np.float64]:
    """Length of the frequency vector over an rfft2 of the stack's images, ``(y, x // 2 + 1)``."""
    n_y, n_x = stack.shape_yx
    y = np.fft.fftfreq(n_y, stack.pixel_size_angstrom)[:, None]
    x = np.fft.rfftfreq(n_x, stack.pixel_size_angstrom)[None]
    return np.hypot(y, x)


def _weights(
    tilt: Tilt, frequency_per_angstrom: NDArray[np.float64], voltage_kv: float, params: WeightDoseParams
) -> NDArray[np.float32]:
    """Amplitudes left in a tilt; so smooth in frequency that a table of 2048 is exact to 1e-6."""
    table = np.linspace(0.0, float(frequency_per_angstrom.max()), 2048)
    start = params.extra_dose_per_angstrom2 + tilt.dose_start_per_angstrom2
    end = params.extra_dose_per_angstrom2 + tilt.dose_end_per_angstrom2
    if params.dose_point == "end":
        left = dose_weights(table, end, voltage_kv)
    else:
        left = mean_dose_weights(table, start, end, voltage_kv)
    return np.interp(frequency_per_angstrom, table, left).astype(np.float32)


def _filtered(
    image: NDArray[np.float32], weights: NDArray[np.float32], n_threads: int
) -> NDArray[np.float32]:
    spectrum = scipy.fft.rfft2(image, workers=n_threads)
    spectrum *= weights
    return scipy.fft.irfft2(spectrum, s=image.shape, workers=n_threads, overwrite_x=True)


def _half_amplitude_angstrom(tilt: Tilt, voltage_kv: float, params: WeightDoseParams) -> float:
    """Finest detail that keeps half its amplitude in a tilt."""
    frequency = np.linspace(1e-3, 1.0, 4000)
    kept = frequency[_weights(tilt, frequency, voltage_kv, params) >= 0.5]
    return float(1.0 / kept[-1]) if len(kept) else 1000.0
