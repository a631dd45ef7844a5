import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from cryoloom.algorithms.images.volume_tiles import TilePlan, map_tiles, read_mirrored


def tiled(volume, plan, work):
    made = np.full(volume.shape, np.nan, np.float32)
    assert len(list(map_tiles([volume], plan, work, made))) == len(plan.starts)
    return made


@pytest.mark.parametrize("largest", [1e9, 20**3, 1])
def test_tiles_are_seamless_where_the_margin_covers_the_reach(rng, largest):
    volume = rng.standard_normal((13, 30, 22)).astype(np.float32)
    plan = TilePlan.fitting(volume.shape, (3, 3, 3), largest)
    made = tiled(volume, plan, lambda tile: uniform_filter(tile, 7, mode="nearest"))
    np.testing.assert_allclose(made, uniform_filter(volume, 7, mode="mirror"), atol=1e-5)


def test_tiles_fit_the_room_and_are_whole_multiples():
    plan = TilePlan.fitting((50, 301, 200), (8, 8, 8), 96 * 96 * 60, multiple=4)
    assert np.prod(plan.tile_shape) <= 96 * 96 * 60
    assert all(n % 4 == 0 for n in (*plan.tile_shape, *plan.core_shape))
    assert TilePlan.fitting((50, 301, 200), (8, 8, 8), 1e12).starts == [(0, 0, 0)]


def test_several_sources_are_read_at_the_same_place(rng):
    one, other = rng.standard_normal((2, 9, 10, 11)).astype(np.float32)
    made = np.empty((9, 10, 11), np.float32)
    list(map_tiles([one, other], TilePlan.fitting((9, 10, 11), (2, 2, 2), 300), np.subtract, made))
    np.testing.assert_allclose(made, one - other, atol=1e-6)


def test_beyond_a_face_is_the_mirror_image(rng):
    volume = rng.standard_normal((4, 5, 6)).astype(np.float32)
    box = read_mirrored(volume, (-2, 0, 3), (8, 5, 5))
    np.testing.assert_array_equal(box, np.pad(volume, ((2, 2), (0, 0), (0, 2)), mode="reflect")[:, :, 3:])
