"""Results that depend on single images, computed while a series grows (decision 24).

A tilt's image is final long before its series. A result that depends only on this image is computed when the
image arrives, kept under the image's key (`Stack.image_keys`), and loaded when the series is complete. Loaded
and computed results are equal bit by bit. A batch run prepares nothing, because it would save no time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numba

from cryoloom.algorithms.images.single_thread_pool import IMAGES_AT_ONCE, single_thread_pool
from cryoloom.algorithms.series.derived_pixels import DoseWeighted, files_of
from cryoloom.algorithms.series.prepared_arrays import Arrays
from cryoloom.contract.step import StepContext
from cryoloom.model import Stack, TiltSeries

__all__ = ["PreparedImages", "image_facts", "prepared"]


def image_facts(series: TiltSeries, stack: Stack, section: int) -> tuple[object, ...] | None:
    """Data and parameters that determine an image of a series' stack; None if they are not known."""
    if key := _key(stack, section):
        return (key,)
    pixels, base = stack.images, series.unweighted_stack
    if isinstance(pixels, DoseWeighted) and files_of(pixels.images) == files_of(base.images):
        if not isinstance(pixels.images, DoseWeighted) and (key := _key(base, section)):
            recipe = (pixels.dose_point, pixels.voltage_kv, pixels.pixel_size_angstrom)
            return (key, type(pixels).__name__, pixels.doses_per_angstrom2[section], *recipe)
    return None


def _key(stack: Stack, section: int) -> str:
    return stack.image_keys[section] if section < len(stack.image_keys) else ""


def prepared(context: StepContext, facts: tuple[object, ...] | None, make: Callable[[], Arrays]) -> Arrays:
    """Arrays kept under these facts while the item grew; otherwise computed, and kept if it still grows."""
    if facts is None:
        return make()
    found = context.load_partial(*facts)
    if found is None:
        found = make()
        context.save_partial(found, *facts)
    return found


class PreparedImages:
    """Arrays of one kind for the images of a series' stack; implements `Prepared`."""

    def __init__(
        self, context: StepContext, series: TiltSeries, stack: Stack, kind: str, *facts: object
    ) -> None:
        """``facts``: everything besides the image that determines the arrays."""
        self._context, self._series, self._stack = context, series, stack
        self._facts = (kind, *facts)

    def __call__(self, section: int, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a section."""
        return prepared(self._context, self._of(section), make)

    def prepare(self, sections: Sequence[int], make: Callable[[int], Arrays]) -> None:
        """Compute and keep the missing arrays of images, each on a single thread of torch."""
        wanted = [section for section in sections if self._is_lacking(section)]
        if not wanted:
            return
        # `each_image` also uses single threads for several images: the last bits depend on torch's threads.
        with single_thread_pool(min(numba.get_num_threads(), IMAGES_AT_ONCE, len(wanted))) as pool:
            for _ in pool.map(lambda section: self(section, lambda: make(section)), wanted):
                pass

    def _is_lacking(self, section: int) -> bool:
        facts = self._of(section)
        return facts is not None and self._context.load_partial(*facts) is None

    def _of(self, section: int) -> tuple[object, ...] | None:
        image = image_facts(self._series, self._stack, section)
        return None if image is None else (*self._facts, *image)
