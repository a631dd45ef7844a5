"""Figures and slice of the specimen, reported by steps that measure its place."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.specimen_middle import FoundSpecimen
from cryoloom.algorithms.specimen.slab import LARGEST_TILT_ERROR_DEG
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext

__all__ = ["MIDDLE_ERROR", "THICKNESS_ERROR", "beside_transmission", "report_specimen"]

MIDDLE_ERROR = Figure(
    "middle_error_angstrom",
    "angstrom",
    "Height of the specimen, error",
    "Standard error of the height of the middle. The defocus at the origin has the same error.",
    good="below 100 angstrom",
)
THICKNESS_ERROR = Figure(
    "thickness_error_angstrom",
    "angstrom",
    "Thickness, error",
    "Standard error of the thickness: few features leave open how far beyond them the ice reaches.",
    good="below a tenth of the thickness",
)

PICTURE_SIDE = 140
"""Chosen: pixels of the picture in the report."""
LARGEST_THICKNESS_ERROR = 0.1
"""Chosen: largest error without a warning, as a fraction of the thickness."""


def beside_transmission(found: FoundSpecimen) -> str:
    """What a user should know where the transmitted electrons were used, or contradict; otherwise empty."""
    fit, ice = found.fit, found.contradicted_by
    known = (
        f"the thickness is known to {fit.thickness_error_angstrom:.0f} of {fit.thickness_angstrom:.0f} A only"
    )
    if ice is not None:
        return (
            f"{known}: features show it, but the electrons which steep tilts transmit show "
            f"{ice.thickness_angstrom:.0f} A. Either features lie beyond the ice, or the images were taken "
            "without an energy filter. Check the tomogram"
        )
    if not found.by_transmission:
        return ""
    return (
        f"{known}: features do not show both surfaces, so it is that of the electrons which steep tilts "
        f"transmit, from the gold on one surface inwards; the height of the middle is known to "
        f"{fit.middle_error_angstrom:.0f} A. Images taken without an energy filter give too little"
    )


def report_specimen(found: FoundSpecimen, context: StepContext) -> None:
    """Report figures, and a slice across the slab with its surfaces."""
    fit = found.fit
    context.figure("slab_contrast", fit.contrast)
    context.figure("pretilt_error_deg", fit.tilt_error_deg)
    if found.doubt:
        context.not_measurable("thickness_angstrom", found.doubt)
        context.not_measurable("thickness_error_angstrom", found.doubt)
        context.not_measurable("z_offset_angstrom", found.doubt)
        context.not_measurable("middle_error_angstrom", found.doubt)
    else:
        context.figure("thickness_angstrom", fit.thickness_angstrom)
        context.figure("thickness_error_angstrom", fit.thickness_error_angstrom)
        context.figure("z_offset_angstrom", fit.z_offset_angstrom)
        context.figure("middle_error_angstrom", fit.middle_error_angstrom)
    no_pretilt = found.doubt or (
        ""
        if fit.has_pretilt
        else f"its error is {fit.tilt_error_deg:.1f} deg, expected {LARGEST_TILT_ERROR_DEG:g} or less"
    )
    if no_pretilt:
        context.not_measurable("pretilt_x_deg", no_pretilt)
        context.not_measurable("pretilt_y_deg", no_pretilt)
    else:
        context.figure("pretilt_x_deg", fit.tilt_x_deg)
        context.figure("pretilt_y_deg", fit.tilt_y_deg)
    if found.doubt:
        context.warn(
            f"the place of the specimen is not known: {found.doubt}. The slice shows the likeliest slab; "
            "compare it with the tomogram, and set by_hand if you see the surfaces"
        )
    elif no_pretilt:
        context.warn(f"the pretilt of the specimen is not known: {no_pretilt}")
    if note := beside_transmission(found):
        context.warn(note)
    elif not found.doubt and fit.thickness_error_angstrom > LARGEST_THICKNESS_ERROR * fit.thickness_angstrom:
        context.warn(
            f"the thickness is known to {fit.thickness_error_angstrom:.0f} of {fit.thickness_angstrom:.0f} A "
            f"only, expected {100 * LARGEST_THICKNESS_ERROR:g} % or less: about {fit.n_features:.0f} "
            "features lie in the ice, and the outermost need not reach its surfaces"
        )
    picture, step = _slice(found.volume, found.voxel_size_angstrom)
    n_z, n_x = picture.shape
    x = (np.arange(n_x) - n_x // 2) * step
    half = 0.5 * fit.thickness_angstrom * float(np.hypot(1.0, np.hypot(fit.slope_x, fit.slope_y)))
    middle = fit.z_offset_angstrom + fit.slope_x * x
    every = max(1, len(fit.profile) // 160)
    context.record(
        "slab",
        {
            "x_angstrom": x.round().tolist(),
            "z_angstrom": ((np.arange(n_z) - n_z // 2) * step).round().tolist(),
            "slice": picture.tolist(),
            "lower_angstrom": (middle - half).round(1).tolist(),
            "upper_angstrom": (middle + half).round(1).tolist(),
            "depth_angstrom": fit.depth_angstrom[::every].round(1).tolist(),
            "filled": fit.profile[::every].round(3).tolist(),
            "thickness_angstrom": round(fit.thickness_angstrom, 1),
        },
    )


def _slice(volume: torch.Tensor, voxel_size_angstrom: float) -> tuple[NDArray[np.int64], float]:
    """The xz slice through the middle as grey values 0 to 255, ``(z, x)``, and its pixel size in angstrom."""
    n_z, n_y, n_x = (int(n) for n in volume.shape)
    block = max(1, -(-max(n_z, n_x) // PICTURE_SIDE))
    thin = volume[:, n_y // 2 - 2 : n_y // 2 + 3].mean(dim=1).numpy()
    kept = thin[: n_z // block * block, : n_x // block * block]
    small = kept.reshape(n_z // block, block, n_x // block, block).mean(axis=(1, 3))
    low, high = np.percentile(small, (0.5, 99.5))
    grey = np.clip((small - low) / max(high - low, 1e-9), 0, 1) * 255
    return grey.round().astype(np.int64), voxel_size_angstrom * block
