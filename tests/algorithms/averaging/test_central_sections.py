"""Central sections of a map: the right planes, the right way round, averaged where they are large."""

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.central_sections import central_sections


@pytest.mark.parametrize("n", [32, 130])
def test_a_bright_spot_is_where_it_is_in_every_section(n):
    volume = torch.zeros(n, n, n)
    middle, far = n // 2, n // 4
    volume[middle, middle + far, middle] = volume[middle + far, middle, middle] = 1.0  # on y, and on z
    yx, zx, yz = central_sections(volume)
    factor = -(-n // 64)
    at, off = middle // factor, (middle + far) // factor
    assert yx.shape == (n // factor, n // factor)
    assert np.unravel_index(yx.argmax(), yx.shape) == (off, at)
    assert np.unravel_index(zx.argmax(), zx.shape) == (off, at)
    assert {tuple(place) for place in np.argwhere(yz > yz.min())} == {(off, at), (at, off)}


def test_greys_are_those_of_the_whole_volume():
    volume = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 40, 40)))
    sections = central_sections(volume).astype(float)
    expected = 127.5 + volume[20].numpy() * 255 / 7
    np.testing.assert_allclose(sections[0], expected.clip(0, 255), atol=2.0)
    assert central_sections(torch.zeros(8, 8, 8)).max() == 0
