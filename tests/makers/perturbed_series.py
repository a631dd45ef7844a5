"""Tilt series made wrong by known amounts, and how wrong a series is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoloom.geometry.projection import project
from cryoloom.model import ImageWarp, Particles, TiltSeries


def perturbed(
    series: TiltSeries,
    rng: np.random.Generator,
    *,
    shift: float = 0.0,
    tilt: float = 0.0,
    defocus: float = 0.0,
    warp: float = 0.0,
) -> TiltSeries:
    """The series with errors of these standard deviations: angstrom per axis, degrees, angstrom, angstrom.

    The images stay what they are. warp : of the 3 x 3 controls of a smooth displacement.
    """
    height, width = (n * series.stack.pixel_size_angstrom for n in series.stack.shape_yx)
    changes = {}
    for one in series.tilts:
        x, y = np.array(one.pose.shift_xy_angstrom) + rng.normal(0.0, shift, 2)
        controls = rng.normal(0.0, warp, (3, 3, 2))
        pose = replace(
            one.pose,
            shift_xy_angstrom=(float(x), float(y)),
            tilt_deg=one.pose.tilt_deg + float(rng.normal(0.0, tilt)),
            warp=ImageWarp.of_controls(controls, (width, height)) if warp else None,
        )
        change = float(rng.normal(0.0, defocus))
        ctf = replace(
            one.ctf,
            defocus_u_angstrom=one.ctf.defocus_u_angstrom + change,
            defocus_v_angstrom=one.ctf.defocus_v_angstrom + change,
        )
        changes[one.acquisition_index] = {"pose": pose, "ctf": ctf}
    return series.with_tilts(changes)


def residual_rms_angstrom(particles: Particles, exact: Particles) -> float:
    """Root mean square distance in the images between where particles are expected and where they are.

    Each particle may lie elsewhere by one displacement of its own in the specimen: positions are compared
    after the displacement that fits all tilts best, because it blurs nothing.
    """
    found, true = _seen(particles), _seen(exact)
    away = found - true
    matrices = np.array([tilt.pose.matrix[:2] for tilt in exact.series[0].tilts])
    design = matrices.reshape(-1, 3)
    left = []
    for i in range(away.shape[1]):
        values = away[:, i].reshape(-1)
        moved = np.linalg.lstsq(design, values, rcond=None)[0]
        left.append(values - design @ moved)
    return float(np.sqrt(2.0 * np.mean(np.square(left))))


def _seen(particles: Particles) -> np.ndarray:
    """Where every tilt shows every particle, ``(tilt, n, 2)``."""
    positions, places = particles.rows().positions_xyz_angstrom, []
    for tilt in particles.series[0].tilts:
        pose = tilt.pose
        rigid = project(positions, pose.magnification * pose.matrix[None], [pose.shift_xy_angstrom])[0]
        places.append(rigid if pose.warp is None else rigid + pose.warp.displacement(rigid))
    return np.array(places)
