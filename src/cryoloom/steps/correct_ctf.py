"""Correct the CTF of the tilt images, strip by strip along the tilt axis.

The defocus of a pixel is that of the tilt at the specimen's origin, minus (or plus, by handedness) the depth
of the specimen's middle plane there. Every image is corrected at a series of defoci, and each pixel is
interpolated between the two nearest; the defocus step, and with it the width of the strips, follows from the
requested resolution. Astigmatism keeps its direction in the image. Methods: phase flip (as IMOD's
ctfphaseflip), multiplication, or a Wiener filter. Xiong et al., J. Struct. Biol. 168, 378 (2009).

The thickness of the specimen is ignored: `reconstruct` with `ctf_correction` corrects every voxel at its own
depth, and needs images without this correction.

Figures: `narrowest_strip_px` is the width of the narrowest strip; 0 if no image needed strips.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from cryoloom.algorithms.ctf.correction import (
    Correction,
    CorrectionMethod,
    correct_image,
    linear_depth_step_angstrom,
)
from cryoloom.algorithms.series.derived_pixels import reading_bytes
from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.algorithms.series.tilt_ctfs import ctfs_of
from cryoloom.algorithms.series.wanted_resolution import wanted_resolution
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.geometry.depth import defocus_change, plane_depth
from cryoloom.model import Pose, Tilt, TiltSeries
from cryoloom.procedures.written_stack import WrittenStack

__all__ = ["CorrectCtfParams", "correct_ctf"]


class CorrectCtfParams(StepParams):
    """Parameters of the correction."""

    method: CorrectionMethod = Field(
        "phase_flip",
        description="phase_flip: only the sign. multiply: by the CTF, which weights by signal. wiener: "
        "divide by the CTF where it is strong.",
    )
    snr: float = Field(5.0, gt=0, description="wiener: signal-to-noise ratio, the same at all frequencies.")
    resolution_angstrom: float | None = Field(
        None, gt=0, description="Finest detail that is corrected exactly. Unset: three pixels."
    )
    height_angstrom: float | None = Field(
        None,
        description="Height of the specimen's middle plane above the origin of the poses. Unset: as measured "
        "by the alignment or estimate_slab, otherwise 0.",
    )


def _bytes_needed(series: TiltSeries, params: CorrectCtfParams) -> int:
    """One image and its padded copy, depth, sum and result; filters and spectra of one piece."""
    n_y, n_x = series.uncorrected_stack.shape_yx
    return 28 * n_y * n_x + 600_000_000 + reading_bytes(series.uncorrected_stack.images)


FIGURES = (
    Figure(
        "narrowest_strip_px",
        "px",
        "Narrowest strip",
        "Width of the narrowest strip corrected at one defocus; 0 if every image was corrected as one.",
    ),
)


@step(
    "correct_ctf",
    version=3,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    gpu="optional",
    citations=(
        "Xiong, Q. et al. (2009) CTF determination and correction for low dose tomographic tilt "
        "series. J. Struct. Biol. 168, 378-387, doi:10.1016/j.jsb.2009.08.016",
    ),
    methods="The CTF was corrected in strips along the tilt axis by {method}.",
    figures=FIGURES,
)
def correct_ctf(series: TiltSeries, params: CorrectCtfParams, context: StepContext) -> TiltSeries:
    """Correct every image that is not excluded at the defocus of each of its pixels, and its halves."""
    ctfs_of(series.included, series.name)
    known = with_defocus_at_origin(series, assume_centred=True)
    stack = series.uncorrected_stack
    handedness = series.handedness.applied
    if handedness is None:
        context.warn(
            f"{series.name}: the handedness is not known, so every image is corrected at one defocus; set it "
            "at the import, or measure it with estimate_ctf after the alignment"
        )
    resolution = wanted_resolution(
        params.resolution_angstrom,
        3 * stack.pixel_size_angstrom,
        parameter="resolution_angstrom",
        pixel_size_angstrom=stack.pixel_size_angstrom,
        series=series.name,
    )
    step_angstrom = linear_depth_step_angstrom(resolution, series.microscope)
    correction = Correction(params.method, params.snr)
    sources = stack.present
    n_sections, (n_y, n_x) = stack.images.shape[0], stack.shape_yx
    written = WrittenStack(context, stack, (n_sections, n_y, n_x), stack.pixel_size_angstrom)
    sections = {tilt.section: tilt for tilt in known.included}
    narrowest = math.inf
    for section in range(n_sections):
        tilt = sections.get(section)
        if tilt is not None:
            loss = _defocus_loss(series, tilt, handedness or 0.0, params.height_angstrom)
            slope = math.hypot(loss[1], loss[2]) * stack.pixel_size_angstrom
            narrowest = min(narrowest, step_angstrom / slope if slope > 0 else math.inf)
        for role, pixels in sources.items():
            image = np.array(pixels[section], dtype=np.float32)
            if tilt is not None and tilt.ctf is not None:
                corrected = correct_image(
                    torch.from_numpy(image).to(context.device),
                    stack.pixel_size_angstrom,
                    tilt.ctf,
                    series.microscope,
                    correction,
                    defocus_loss_angstrom=loss,
                    step_angstrom=step_angstrom,
                )
                image = corrected.cpu().numpy()
            written.write(role, section, image)
        context.progress(section + 1, n_sections)
    context.figure("narrowest_strip_px", narrowest if math.isfinite(narrowest) else 0.0)
    return replace(series, corrected=written.finished(ctf_correction=params.method))


def _defocus_loss(
    series: TiltSeries, tilt: Tilt, handedness: float, height_angstrom: float | None
) -> tuple[float, float, float]:
    """Defocus of the CTF minus that of the specimen's plane, as `correct_image` takes it."""
    pose = tilt.pose
    if pose is None:
        angle = tilt.nominal_tilt_deg + (series.tilt_offset_deg.applied or 0.0)
        pose = Pose(series.tilt_axis_deg.applied or 0.0, angle)
    height, *slopes = (0.0, 0.0, 0.0) if series.slab is None else series.slab.plane
    at_origin, per_x, per_y = plane_depth(
        pose.matrix, height if height_angstrom is None else height_angstrom, *slopes
    )
    shift_x, shift_y = pose.shift_xy_angstrom
    at_centre = at_origin - per_x * shift_x - per_y * shift_y
    if tilt.ctf is not None and tilt.ctf.refers_to == "specimen":
        at_centre = 0.0  # the CTF is that of the plane at the image's centre
    loss = -defocus_change([at_centre, per_x, per_y], handedness)
    return float(loss[0]), float(loss[1]), float(loss[2])
