"""Simulated tilt series that are made once and then read from a folder: for benchmarks that share them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cryoloom.model import Microscope, Stack, Tilt, TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series
from cryoloom.simulate.truth import Truth


def kept_series(params: SimulationParams, folder: Path) -> tuple[TiltSeries, Truth]:
    """A simulated series without poses, CTFs or nominal axis, and its truth; kept by its parameters."""
    digest = hashlib.sha256(params.model_dump_json().encode()).hexdigest()[:12]
    key = f"{Path(params.specimen).name.split('.')[0]}-{params.n_beads}-{params.seed}-{digest}"
    pixels, truth_file = folder / f"{key}.npy", folder / f"{key}.json"
    if not truth_file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        series, truth = simulate_tilt_series(params)
        np.save(pixels, np.asarray(series.unweighted_stack.images[:]).astype(np.uint16))
        truth.save(truth_file)
    truth = Truth.load(truth_file)
    images = np.load(pixels).astype(np.float32)
    tilts = sorted(truth.tilts, key=lambda tilt: tilt.nominal_tilt_deg)
    series = TiltSeries(
        name=key,
        microscope=Microscope(params.voltage_kv, params.spherical_aberration_mm, params.amplitude_contrast),
        pixel_size_angstrom=params.pixel_size_angstrom,
        tilts=tuple(
            Tilt(
                tilt.acquisition_index,
                tilt.nominal_tilt_deg,
                tilt.dose_start_per_angstrom2,
                tilt.dose_end_per_angstrom2,
                section=section,
            )
            for section, tilt in enumerate(tilts)
        ),
        stack=Stack(images, params.pixel_size_angstrom),
    )
    return series, truth
