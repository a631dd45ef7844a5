"""A new stack is stored as the one it is made from, where it loses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.series.derived_pixels import Difference
from cryoloom.formats.pixels.mrc import MrcSink, write_mrc
from cryoloom.model import Stack
from cryoloom.procedures.written_stack import WrittenStack, stacks_by_prefix, with_stacks
from makers.made_series import make_series

SHAPE = (2, 20, 30)


class FolderContext:
    """Files in a folder, as the engine's context makes them."""

    def __init__(self, folder):
        self._folder = folder

    def new_pixels(self, role, shape, pixel_size_angstrom, *, dtype="float32"):
        return MrcSink(self._folder / f"{role}.mrc", shape, pixel_size_angstrom, dtype)


def stored(tmp_path, rng, dtype):
    images = write_mrc(tmp_path / "all.mrc", rng.normal(10, 3, SHAPE), 2.0, dtype=dtype)
    even = write_mrc(tmp_path / "half.mrc", rng.normal(5, 2, SHAPE), 2.0, dtype=dtype)
    return Stack(images, 2.0, even, Difference(images, even))


def written(source, images, tmp_path):
    made = WrittenStack(FolderContext(tmp_path), source, SHAPE, 2.0, "new_")
    for role in made.present:
        for section in range(SHAPE[0]):
            made.write(role, section, images[section])
    return made.finished(ctf_correction="multiply")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_is_stored_as_its_source(dtype, tmp_path, rng):
    images = rng.normal(10, 3, SHAPE).astype(np.float32)
    stack = written(stored(tmp_path, rng, dtype), images, tmp_path)
    for role, sink in stack.present.items():
        assert sink.dtype == np.dtype(dtype), role
        pixels = sink.commit()
        assert pixels.path.name == f"new_{role}.mrc"
        # The last place of a half between 8 and 16 is 2^-7.
        np.testing.assert_allclose(pixels[:], images, atol=0 if dtype == "float32" else 2**-7)
    assert stack.ctf_correction == "multiply"


def test_values_that_would_lose_by_it_are_stored_in_full(tmp_path, rng):
    images = (1000 + rng.normal(0, 0.1, SHAPE)).astype(np.float32)
    stack = written(stored(tmp_path, rng, "float16"), images, tmp_path)
    assert {sink.dtype for sink in stack.present.values()} == {np.dtype(np.float32)}
    for sink in stack.present.values():
        sink.discard()


def test_a_stack_without_images_is_refused(tmp_path, rng):
    made = WrittenStack(FolderContext(tmp_path), stored(tmp_path, rng, "float32"), SHAPE, 2.0)
    with pytest.raises(ValueError, match="no image was written"):
        made.finished()


def test_stacks_are_found_and_replaced_by_the_prefix_of_their_files():
    images = np.zeros(SHAPE, np.float32)
    old, new = Stack(images, 2.0), Stack(images, 4.0)
    series = with_stacks(make_series(), {"": old, "corrected_": old})
    assert stacks_by_prefix(series) == {"": old, "corrected_": old}
    binned = with_stacks(series, {prefix: new for prefix in stacks_by_prefix(series)})
    assert (binned.stack, binned.weighted, binned.corrected) == (new, None, new)
