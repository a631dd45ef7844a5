"""What the engine hands to a step."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from cryoloom.engine.context import EngineContext


@pytest.mark.parametrize("kind", ["stack", "volume"])
@pytest.mark.parametrize("multiscale", [False, True])
def test_the_header_says_what_a_file_is(tmp_path, rng, kind, multiscale):
    context = EngineContext(tmp_path, tmp_path / "item", "cpu", 1, 1 << 30, seed=1)
    values = rng.standard_normal((5, 6, 8)).astype(np.float32)
    context.new_pixels("made", values.shape, 2.0, kind=kind, multiscale=multiscale)[:] = values
    context.commit()
    with mrcfile.open(tmp_path / "item" / "made.mrc") as file:
        assert file.is_volume() == (kind == "volume")
        assert file.is_image_stack() == (kind == "stack")
        assert float(file.voxel_size.z) == pytest.approx(2.0)
        np.testing.assert_array_equal(file.data, values)
