"""Invert contrast: protein becomes bright. Each image is mirrored about its own mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from cryoloom.contract import Figure, StepContext, StepParams, step
from cryoloom.model import Stack, TiltSeries


class InvertContrastParams(StepParams):
    """Parameters of the inversion."""

    strength: float = Field(1.0, gt=0, description="1 mirrors about the mean; other values also scale.")


def bytes_needed(series: TiltSeries, params: InvertContrastParams) -> int:
    """One image, twice: as read and as written."""
    height, width = series.unweighted_stack.shape_yx
    return 2 * height * width * 4


@step(
    "invert_contrast",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=bytes_needed,
    figures=(
        Figure(
            "contrast_ratio",
            unit="",
            title="Contrast, after over before",
            meaning="Standard deviation of the first image over that of the original.",
            good="equal to strength",
        ),
    ),
)
def invert_contrast(series: TiltSeries, params: InvertContrastParams, context: StepContext) -> TiltSeries:
    """Mirror every image about its mean."""
    stack = series.unweighted_stack
    inverted = context.new_pixels("images", stack.images.shape, stack.pixel_size_angstrom)
    for section in range(stack.images.shape[0]):
        image = stack.images[section]
        inverted[section] = image.mean() - params.strength * (image - image.mean())
        context.progress(section + 1, stack.images.shape[0])
    context.figure("contrast_ratio", float(np.std(inverted[0]) / np.std(stack.images[0])))
    return replace(series, stack=Stack(inverted, stack.pixel_size_angstrom))
