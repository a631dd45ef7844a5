"""3D-CTF against brute force: every tilt corrected at every depth, every voxel taking its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.correction import Correction, depth_phase_rate
from cryoloom.algorithms.ctf.transfer import ctf_2d
from cryoloom.algorithms.images.radial_filter import RadialFilter
from cryoloom.algorithms.reconstruction.back_projection import plan_back_projection
from cryoloom.algorithms.reconstruction.depth_basis import linear_basis, polynomial_basis
from cryoloom.algorithms.reconstruction.depth_correction import plan_depth_correction
from cryoloom.geometry.projection import beam_coordinate
from cryoloom.model import Ctf, Microscope, Pose

# Slow electrons: the transfer of this small volume changes as much over its depth as a large one's at 300 kV.
SCOPE = Microscope(voltage_kv=5.0, spherical_aberration_mm=0.01)
VOXEL, SHAPE = 4.0, (20, 36, 120)
TILTS = (-60.0, -30.0, 0.0, 35.0, 58.0)
CTFS = tuple(Ctf(3000.0 + 40 * i, 2900.0 + 10 * i, 20.0 * i) for i in range(5))
RESOLUTION = 10.0
N_COLUMNS = 134


def plan(correction, x_tilt_deg=0.0, axis_deg=0.0, ctfs=CTFS, step_angstrom=VOXEL):
    poses = [Pose(axis_deg, tilt, x_tilt_deg) for tilt in TILTS]
    radial = RadialFilter(0.35, 0.05)
    plain = plan_back_projection(SHAPE, N_COLUMNS, TILTS, [x_tilt_deg] * 5, radial)
    return plan_depth_correction(
        plain,
        poses,
        ctfs,
        SCOPE,
        correction,
        handedness=-1.0,
        voxel_size_angstrom=VOXEL,
        resolution_angstrom=RESOLUTION,
        step_angstrom=step_angstrom,
    )


def noise_rows(plan, rng):
    """Aligned images of noise, with what the plan needs around the volume's rows."""
    n_rows = SHAPE[1] + 2 * plan.halo_rows
    return torch.from_numpy(rng.standard_normal((len(TILTS), n_rows, N_COLUMNS)).astype(np.float32))


def volume_of(plan, aligned):
    return torch.cat([strip.clone() for strip in plan.strips(aligned, 0)], dim=1).numpy()


def brute_force(plan, aligned, depth_step):
    """Sum over tilts and depths of the back-projection of one corrected image, where voxels lie that deep."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    xyz = (np.stack([x, y, z], axis=-1).reshape(-1, 3) - np.array(SHAPE)[::-1] // 2) * VOXEL
    depths = beam_coordinate(xyz, [pose.matrix for pose in plan.poses]).reshape(-1, *SHAPE)
    halo, outer = plan.plain.halo_rows, 2 * plan.margin_px
    padded_shape = (aligned.shape[1], N_COLUMNS + 2 * outer)
    total = np.zeros(SHAPE)
    for t in range(len(TILTS)):
        alone = replace(plan.plain, columns=plan.plain.columns[t : t + 1], rows=plan.plain.rows[t : t + 1])
        nearest = np.round(depths[t] / depth_step).astype(int)
        # Continued as the filter does beyond the images' ends.
        rows = plan.plain.filtered_rows(aligned[t : t + 1], t, outer)
        for step in np.unique(nearest):
            ctf = ctf_2d(padded_shape, VOXEL, plan.ctfs[t], SCOPE, height_angstrom=-step * depth_step)
            corrected = torch.fft.irfft2(torch.fft.rfft2(rows) * plan.correction.of(ctf), s=padded_shape)
            corrected = corrected[plan.margin_px : corrected.shape[0] - plan.margin_px]
            fine = torch.fft.irfft(torch.fft.rfft(corrected), n=2 * padded_shape[1]) * 2
            image = torch.zeros((1, 2 * N_COLUMNS + 2, SHAPE[1] + 2 * halo + 32))
            image[0, 1:-1, : SHAPE[1] + 2 * halo] = fine[:, 2 * outer : 2 * outer + 2 * N_COLUMNS].T
            here = nearest == step
            for start in range(0, SHAPE[1], 32):
                rows_here = slice(start, min(SHAPE[1], start + 32))
                images = image[..., start : start + 32 + 2 * halo].contiguous()
                alone.sharpen_rows(images)
                volume = torch.empty((SHAPE[0], rows_here.stop - start, SHAPE[2]))
                alone.fill(images, volume, 0)
                total[:, rows_here] += volume.numpy() * here[:, rows_here]
    return total


def relative_error(found, expected):
    return float(np.std(found - expected) / np.std(expected))


def test_is_every_voxel_at_its_own_depth(rng):
    made = plan(Correction("multiply"))
    # The phase turns by 2 rad from one side of the volume to the other.
    assert 2 * abs(made.bases[0].depths[0]) * depth_phase_rate(RESOLUTION, SCOPE) > 2
    aligned = noise_rows(made, rng)
    expected = brute_force(made, aligned, depth_step=4.0)
    # 0.02 at most, of factors of 0.7 in the mean; brute force itself steps by 4 A.
    assert relative_error(volume_of(made, aligned), expected) < 0.04
    closer = tuple(polynomial_basis(-260, 260, 0.0054, 1e-4) for _ in TILTS)
    # What is left: brute force's images are continued by themselves beyond the margin of 30 pixels.
    assert relative_error(volume_of(replace(made, bases=closer), aligned), expected) < 0.015
    # One depth for all is far off, and so is the other handedness.
    flat = replace(made, bases=tuple(replace(b, depths=np.zeros(1)) for b in made.bases))
    assert relative_error(volume_of(flat, aligned), expected) > 0.4
    assert relative_error(volume_of(replace(made, handedness=1.0), aligned), expected) > 0.6


def test_an_x_tilt_shifts_depth_along_the_rows(rng):
    # In focus: brute force does not know that an x-tilt shears the aligned image's frequencies by 7 %.
    in_focus = (Ctf(0.0, 0.0, 0.0, phase_shift_deg=40.0),) * 5
    made = plan(Correction("multiply"), x_tilt_deg=5.0, ctfs=in_focus)
    aligned = noise_rows(made, rng)
    expected = brute_force(made, aligned, depth_step=8.0)
    assert relative_error(volume_of(made, aligned), expected) < 0.1
    assert relative_error(volume_of(replace(made, handedness=1.0), aligned), expected) > 0.3


def test_slabs_cost_little_and_few_images_do(rng):
    made = plan(Correction("multiply"), step_angstrom=None)
    assert made.slab_voxels > 4
    assert made.n_nodes <= 5 * len(TILTS)
    aligned = noise_rows(made, rng)
    # 0.2 rad at most, at the edges of slabs, the highest tilt and frequency: 0.12 rms there.
    expected = volume_of(replace(made, slab_voxels=1), aligned)
    assert relative_error(volume_of(made, aligned), expected) < 0.12


@pytest.mark.slow
@pytest.mark.parametrize("method", ["phase_flip", "wiener"])
def test_other_corrections_are_interpolated_linearly(method, rng):
    made = plan(Correction(method))
    assert all(basis.linear for basis in made.bases)
    aligned = noise_rows(made, rng)
    expected = brute_force(made, aligned, depth_step=8.0)
    # Where the transfer function passes through 0 the factor changes abruptly, and white noise shows it: the
    # error falls with the step.
    as_planned = relative_error(volume_of(made, aligned), expected)
    closer = tuple(linear_basis(-250, 250, 0.0054, 0.0012) for _ in TILTS)
    assert as_planned < 0.3
    assert relative_error(volume_of(replace(made, bases=closer), aligned), expected) < 0.95 * as_planned


def test_astigmatism_turns_with_the_alignment(rng):
    aligned = None
    volumes = []
    for axis_deg in (0.0, 85.0):
        # Angles from the image's x; the aligned frame's x lies at the axis' angle in the image.
        ctfs = tuple(
            Ctf(c.defocus_u_angstrom + 300, c.defocus_v_angstrom, c.astigmatism_angle_deg + axis_deg)
            for c in CTFS
        )
        made = plan(Correction("multiply"), axis_deg=axis_deg, ctfs=ctfs, step_angstrom=40.0)
        aligned = noise_rows(made, rng) if aligned is None else aligned
        volumes.append(volume_of(made, aligned))
    np.testing.assert_allclose(volumes[1], volumes[0], atol=1e-3 * volumes[0].std())
