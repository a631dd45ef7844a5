"""Small series for steps that look at tilts rather than at pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries

__all__ = ["aligned", "make_series"]


def make_series(name="TS_01", n_tilts=5, shape_yx=(12, 16), pixel_size_angstrom=2.0, rng=None, step_deg=3.0):
    """A dose-symmetric series whose pixels tell their acquisition index."""
    angles = [step_deg * (-1) ** k * ((k + 1) // 2) for k in range(n_tilts)]
    order = np.argsort(angles)
    tilts = tuple(
        Tilt(int(k), angles[k], 3.0 * k, 3.0 * k + 3.0, section=section) for section, k in enumerate(order)
    )
    images = np.ones((n_tilts, *shape_yx), np.float32) * np.asarray(order, np.float32)[:, None, None]
    if rng is not None:
        images += rng.normal(0, 0.1, images.shape).astype(np.float32)
    return TiltSeries(
        name, Microscope(), pixel_size_angstrom, tilts, stack=Stack(images, pixel_size_angstrom)
    )


def aligned(series, leave_out=()):
    """The series with a pose and a CTF on every tilt but those left out, which are excluded."""
    changes = {}
    for tilt in series.tilts:
        k = tilt.acquisition_index
        if k in leave_out:
            changes[k] = {"exclusion": Exclusion.by_step("dark", "select_tilts")}
        else:
            changes[k] = {
                "pose": Pose(85.0, tilt.nominal_tilt_deg, shift_xy_angstrom=(10.0 * k, -k)),
                "ctf": Ctf(20000.0 + k, 20000.0 + k, 0.0),
            }
    return replace(series.with_tilts(changes), tilt_axis_deg=Sourced.from_told(85.0, "test"))
