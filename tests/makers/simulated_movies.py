"""A simulated session as a series of movies that align_frames takes, without the engine."""

from __future__ import annotations

from pathlib import Path

from cryoloom.formats.pixels.movie import describe_movie
from cryoloom.model import Microscope, Sourced, Tilt, TiltSeries
from cryoloom.simulate.session import SimulationParams, simulate_session
from cryoloom.simulate.truth import Truth

FLAWLESS_CAMERA = {
    "gain_rms": 0.0, "n_dead_pixels": 0, "n_hot_pixels": 0, "n_dead_columns": 0, "xrays_per_frame": 0.0,
}  # fmt: skip


def simulated_movies(folder: Path, params: SimulationParams) -> tuple[TiltSeries, Truth]:
    """Movies written to ``folder`` and the series of them; the camera must need no gain reference."""
    truth = simulate_session(params, folder)
    tilts = []
    for tilt in sorted(truth.tilts, key=lambda tilt: tilt.nominal_tilt_deg):
        (path,) = (folder / "frames").glob(f"*_{tilt.acquisition_index:03d}_*.tif")
        tilts.append(
            Tilt(
                tilt.acquisition_index,
                tilt.nominal_tilt_deg,
                tilt.dose_start_per_angstrom2,
                tilt.dose_end_per_angstrom2,
                describe_movie(path),
            )
        )
    axis = Sourced.from_told(truth.told_axis_deg, "mdoc")
    microscope = Microscope(params.voltage_kv)
    return TiltSeries("TS_01", microscope, params.pixel_size_angstrom, tuple(tilts), axis), truth
