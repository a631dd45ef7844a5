"""The transfer function in the frame of the tilt axis, against its definition in the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.phase import ctf_phase, directional_defocus
from cryoloom.algorithms.reconstruction.aligned_transfer import aligned_transfer
from cryoloom.geometry.tilt_axis import image_from_aligned
from cryoloom.model import Ctf, Microscope, Pose

SCOPE = Microscope()
PIXEL = 3.0


@pytest.mark.parametrize(
    "pose", [Pose(0.0, 0.0), Pose(85.3, -40.0), Pose(-12.0, 35.0, 6.0, magnification=1.02)]
)
@pytest.mark.parametrize("shape", [(24, 30), (15, 21)])
def test_is_the_function_at_the_frequencies_of_the_image(pose, shape):
    ctf = Ctf(41000.0, 38500.0, 33.0, phase_shift_deg=20.0)
    found, per_angstrom = aligned_transfer(pose, ctf, SCOPE, PIXEL).over_rfft2(shape, torch.device("cpu"))
    axes = image_from_aligned(pose.axis_deg, pose.tilt_deg, pose.x_tilt_deg, pose.magnification)
    aligned = np.stack(np.broadcast_arrays(np.fft.rfftfreq(shape[1]), np.fft.fftfreq(shape[0])[:, None]))
    # A wave of the image, exp(2 pi i k x), is exp(2 pi i k axes u) of aligned coordinates: f = axes^T k.
    k_x, k_y = np.einsum("ij,jyx->iyx", np.linalg.inv(axes.T), aligned) / PIXEL
    squared = k_x**2 + k_y**2
    defocus = directional_defocus(np.arctan2(k_y, k_x), 41000.0, 38500.0, 33.0)
    phase = ctf_phase(squared, defocus, SCOPE, 20.0)
    np.testing.assert_allclose(np.sin(2 * np.pi * found.numpy()), np.sin(phase), atol=2e-6)
    np.testing.assert_allclose(per_angstrom, 0.5 * SCOPE.wavelength_angstrom * squared, rtol=1e-6)
    assert float(found.abs().max()) <= 0.5
