"""The contrast transfer function along a line and on the grid of an image: formulas in `phase`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.phase import ctf_phase, directional_defocus
from cryoloom.algorithms.images.fourier import frequencies_rfft
from cryoloom.model import Ctf, Microscope

__all__ = ["ctf_1d", "ctf_2d"]


def ctf_1d(
    frequency_per_angstrom: NDArray[np.float64],
    defocus_angstrom: float,
    microscope: Microscope,
    phase_shift_deg: float = 0.0,
) -> NDArray[np.float64]:
    """Transfer function ``sin(chi)`` at the given frequencies, without astigmatism and envelope."""
    squared = np.asarray(frequency_per_angstrom, dtype=np.float64) ** 2
    return np.sin(ctf_phase(squared, defocus_angstrom, microscope, phase_shift_deg))


def ctf_2d(
    shape_yx: tuple[int, int],
    pixel_size_angstrom: float,
    ctf: Ctf,
    microscope: Microscope,
    *,
    height_angstrom: float = 0.0,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Transfer function ``sin(chi)`` on an rfft2 grid, ``(y, x // 2 + 1)`` float32, without envelope.

    ``height_angstrom`` is subtracted from the defocus: handedness times the beam coordinate ``w`` of the part
    of the specimen it is for (conventions.md, "Defocus").
    """
    frequency_y, frequency_x = frequencies_rfft(shape_yx, device)
    squared = (frequency_y.double() ** 2 + frequency_x.double() ** 2) / pixel_size_angstrom**2
    angle = torch.atan2(frequency_y.double(), frequency_x.double())
    defocus = directional_defocus(
        angle,
        ctf.defocus_u_angstrom - height_angstrom,
        ctf.defocus_v_angstrom - height_angstrom,
        ctf.astigmatism_angle_deg,
    )
    # The phase reaches hundreds of radians: double until the sine is taken.
    return torch.sin(ctf_phase(squared, defocus, microscope, ctf.phase_shift_deg)).float()
