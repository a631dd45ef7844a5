"""Bin the images of a series: smaller files, higher contrast, the same positions in angstrom.

Spectra are cropped, which averages pixels without aliasing (as IMOD's newstack with ``-antialias``). The
binning may be any number from 1; up to two binned pixels are lost at the edges so that pixels stay square and
the centre stays in place. Poses, CTFs and doses are in angstrom and do not change.

By default values are means over the pixels covered. ``counts`` sums them, so that images of electrons stay
images of electrons; ``standard`` scales each image to mean 0 and standard deviation 1. The sum of even and
odd images remains the image.

Figure: ``pixel_size_angstrom`` of the binned images.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.images.resample_image import BinnedFrame, bin_image, binned_frame
from cryoloom.algorithms.series.derived_pixels import reading_bytes
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Stack, TiltSeries
from cryoloom.procedures.written_stack import WrittenStack, stacks_by_prefix, with_stacks

__all__ = ["BinSeriesParams", "bin_series"]

Values = Literal["mean", "counts", "standard"]


class BinSeriesParams(StepParams):
    """Parameters of binning."""

    binning: float = Field(
        4.0, ge=1, le=64, description="Image pixels per binned pixel; fractions are allowed."
    )
    pixel_size_angstrom: float | None = Field(
        None, gt=0, description="Pixel size of the result, instead of a binning; at least that of the images."
    )
    values: Values = Field(
        "mean",
        description="mean: of the pixels covered; counts: their sum; standard: mean 0 and deviation 1.",
    )


def _bytes_needed(series: TiltSeries, params: BinSeriesParams) -> int:
    """An image, its spectrum, and the cropped parts of both."""
    n_y, n_x = series.best_stack.shape_yx
    return 24 * n_y * n_x + (150 << 20) + reading_bytes(series.best_stack.images)


FIGURES = (
    Figure("pixel_size_angstrom", "angstrom", "Pixel size", "Pixel size of the images that were written."),
)


@step(
    "bin_series",
    version=2,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    gpu="optional",
    ignores_exclusions=True,
    methods="Images were binned[ to pixels of {pixel_size_angstrom:.2f} Å].",
    figures=FIGURES,
)
def bin_series(series: TiltSeries, params: BinSeriesParams, context: StepContext) -> TiltSeries:
    """Bin the images of a series, dose-weighted and CTF-corrected ones too, and their halves."""
    present = stacks_by_prefix(series)
    if not present:
        _ = series.best_stack  # raises where there is none
    frames = {prefix: _frame(series, stack, params) for prefix, stack in present.items()}
    total = sum(len(stack.present) * stack.images.shape[0] for stack in present.values())
    done = 0
    made = {}
    for prefix, stack in present.items():
        pixel_size = stack.pixel_size_angstrom * frames[prefix].binning
        shape = (stack.images.shape[0], *frames[prefix].binned_yx)
        written = WrittenStack(context, stack, shape, pixel_size, prefix)
        for section in range(stack.images.shape[0]):
            binned = {
                role: _binned(pixels[section], frames[prefix], context.device, series, section)
                for role, pixels in stack.present.items()
            }
            for role, values in _scaled(binned, params.values, frames[prefix].binning).items():
                written.write(role, section, values)
                done += 1
            context.progress(done, total)
        made[prefix] = written.finished()
    context.figure("pixel_size_angstrom", next(iter(made.values())).pixel_size_angstrom)
    return with_stacks(series, made)


def _frame(series: TiltSeries, stack: Stack, params: BinSeriesParams) -> BinnedFrame:
    binning = params.binning
    if params.pixel_size_angstrom is not None:
        binning = params.pixel_size_angstrom / stack.pixel_size_angstrom
    if binning < 0.999:
        raise UserInputError(
            f"pixel_size_angstrom is {params.pixel_size_angstrom:g}, finer than the images of {series.name}; "
            f"choose at least {stack.pixel_size_angstrom:g}"
        )
    if min(stack.shape_yx) / binning < 8:
        raise UserInputError(
            f"a binning of {binning:g} reduces {min(stack.shape_yx)} pixels to fewer than 8; choose a "
            "smaller binning"
        )
    return binned_frame(stack.shape_yx, max(binning, 1.0))


def _binned(
    image: NDArray[np.float32], frame: BinnedFrame, device: str, series: TiltSeries, section: int
) -> NDArray[np.float32]:
    values = np.ascontiguousarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise DataUnfitError(
            f"section {section} of {series.name} has pixels that are not finite; import it again",
            n_bad_pixels=int(np.sum(~np.isfinite(values))),
        )
    return bin_image(torch.from_numpy(values).to(device), frame).cpu().numpy()


def _scaled(
    images: dict[str, NDArray[np.float32]], values: Values, binning: float
) -> dict[str, NDArray[np.float32]]:
    """An image and its halves scaled as requested; the halves use the mean and scale of the whole image."""
    if values == "mean":
        return images
    if values == "counts":
        return {role: image * np.float32(binning**2) for role, image in images.items()}
    whole = images["images"]
    mean, deviation = float(whole.mean(dtype=np.float64)), float(whole.std(dtype=np.float64))
    if not deviation > 0:
        raise DataUnfitError("an image is constant; exclude the tilt or import it again", value=mean)
    parts = {"images": 1.0, "even": 0.5, "odd": 0.5}
    return {
        role: ((image - mean * parts[role]) / deviation).astype(np.float32) for role, image in images.items()
    }
