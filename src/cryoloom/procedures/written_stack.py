"""Stacks made from others, written image by image in the type of their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.images.half_precision import keeps_half_precision
from cryoloom.algorithms.series.derived_pixels import is_half_precision
from cryoloom.contract.step import StepContext
from cryoloom.model import Pixels, PixelSink, Stack, TiltSeries

__all__ = ["WrittenStack", "stacks_by_prefix", "with_stacks"]


def stacks_by_prefix(series: TiltSeries) -> dict[str, Stack]:
    """The stacks a series has, by what the names of their files begin with."""
    stacks = {"": series.stack, "weighted_": series.weighted, "corrected_": series.corrected}
    return {prefix: stack for prefix, stack in stacks.items() if stack is not None}


def with_stacks(series: TiltSeries, made: Mapping[str, Stack]) -> TiltSeries:
    """The series with these stacks, by prefix as `stacks_by_prefix`, and no others."""
    return replace(
        series, stack=made.get(""), weighted=made.get("weighted_"), corrected=made.get("corrected_")
    )


class WrittenStack:
    """Images and halves of a new stack.

    They are 16-bit floats where those they are made from are, and where the first image written loses less by
    it than a ten-thousandth of its variance (decision 20), and else 32-bit floats.
    """

    def __init__(
        self,
        context: StepContext,
        source: Stack,
        shape: tuple[int, int, int],
        pixel_size_angstrom: float,
        prefix: str = "",
    ) -> None:
        """Begin; ``prefix`` comes before the files' names."""
        self._context, self._source, self._prefix = context, source, prefix
        self._shape, self._pixel_size_angstrom = shape, pixel_size_angstrom
        self._sinks: dict[str, PixelSink] = {}

    @property
    def present(self) -> dict[str, Pixels]:
        """Its sources: ``images``, and ``even`` and ``odd`` if there are halves."""
        return self._source.present

    def write(self, role: str, section: int, image: NDArray[np.float32]) -> None:
        """Write one image ``(y, x)``."""
        if role not in self._sinks:
            self._sinks[role] = self._context.new_pixels(
                self._prefix + role, self._shape, self._pixel_size_angstrom, dtype=self._dtype(role, image)
            )
        self._sinks[role][section] = image

    def finished(self, *, ctf_correction: str = "") -> Stack:
        """The stack as a value of the model."""
        images, even, odd = (self._sinks.get(role) for role in ("images", "even", "odd"))
        if images is None:
            raise ValueError("no image was written")
        return Stack(images, self._pixel_size_angstrom, even, odd, ctf_correction)

    def _dtype(self, role: str, image: NDArray[np.float32]) -> Literal["float16", "float32"]:
        is_half = is_half_precision(self._source.present[role])
        return "float16" if is_half and keeps_half_precision(image) else "float32"
