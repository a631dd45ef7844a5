"""A stack that is made from another one, written image by image and stored as that one is."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.images.half_precision import keeps_half_precision
from cryoloom.algorithms.series.derived_pixels import is_half_precision
from cryoloom.contract.step import StepContext
from cryoloom.model import Pixels, PixelSink, Stack

__all__ = ["WrittenStack"]


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
        """What it is made from: ``images``, and ``even`` and ``odd`` where there are halves."""
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
