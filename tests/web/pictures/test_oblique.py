"""Planes of any direction: the volume's own slice where nothing is turned, its features where they are."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cryoloom.errors import UserInputError
from cryoloom.web.pictures.levels import Levels
from cryoloom.web.pictures.oblique import ObliqueRequest, oblique_axes, render_oblique

SHAPE = (40, 90, 121)  # z, y, x


@pytest.fixture(scope="module")
def levels() -> Levels:
    z, y, x = np.meshgrid(*(np.arange(n) + 0.5 for n in SHAPE), indexing="ij")
    spot = np.exp(-((x - 70.5) ** 2 + (y - 40.5) ** 2 + (z - 22.5) ** 2) / 18)
    return Levels(((200 * spot + 0.2 * x + 0.3 * y).astype(np.uint8),), ((0.0, 255.0),), "volume")


def shown(levels: Levels, request: ObliqueRequest) -> NDArray[np.float64]:
    picture = Image.open(BytesIO(render_oblique(levels, request).jpeg))
    return np.asarray(picture, dtype=float)[::-1]  # row 0 at the bottom, as in the volume


def test_an_unturned_plane_is_a_slice(levels: Levels) -> None:
    request = ObliqueRequest((60.5, 45.0, 10.5), 0.0, 0.0, 121, 90, 1.0)
    stored = levels.arrays[0]
    assert stored is not None
    # JPEG changes a smooth picture by a grey or two.
    np.testing.assert_allclose(shown(levels, request), stored[10], atol=4)


@pytest.mark.parametrize("turn", [(0.0, 0.0), (35.0, -20.0), (90.0, 0.0), (0.0, 90.0), (-70.0, 120.0)])
def test_a_spot_is_where_the_planes_axes_say(levels: Levels, turn: tuple[float, float]) -> None:
    right, up, out = oblique_axes(*turn).T
    np.testing.assert_allclose(
        np.stack([right, up, out]) @ np.stack([right, up, out]).T, np.eye(3), atol=1e-12
    )
    np.testing.assert_allclose(np.cross(right, up), out, atol=1e-12)
    spot = np.array([70.5, 40.5, 22.5])
    centre = spot - 6 * right + 4 * up
    found = shown(levels, ObliqueRequest(tuple(centre), *turn, 61, 51, 1.0))
    v, u = np.unravel_index(np.argmax(found), found.shape)
    assert (u - 30, v - 25) == pytest.approx((6, -4), abs=1)


def test_a_thick_plane_is_the_mean_along_its_normal(levels: Levels) -> None:
    thin = ObliqueRequest((70.5, 40.5, 22.5), 30.0, 10.0, 41, 41, 1.0)
    thick = ObliqueRequest((70.5, 40.5, 22.5), 30.0, 10.0, 41, 41, 1.0, n_sections=9)
    # Mean of exp(-d^2 / 18) over d = -4 to 4 is 0.73: the spot is paler by that.
    background = 0.2 * 70.5 + 0.3 * 40.5
    low, high = levels.range_of(0)
    bright = [shown(levels, one)[20, 20] / 255 * (high - low) + low - background for one in (thin, thick)]
    assert bright[1] / bright[0] == pytest.approx(0.73, abs=0.06)


@pytest.mark.parametrize("size", [(5000, 20), (4, 20)])
def test_a_plane_of_an_impossible_size_is_refused(levels: Levels, size: tuple[int, int]) -> None:
    with pytest.raises(UserInputError, match="expected 8 to 1024"):
        render_oblique(levels, ObliqueRequest((1.0, 1.0, 1.0), 0.0, 0.0, *size, 1.0))
