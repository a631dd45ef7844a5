import numpy as np
import pytest
import torch

from cryoloom.algorithms.denoising.unet import UNet3d, reach_px
from cryoloom.algorithms.images.volume_tiles import TilePlan, map_tiles


def busy_network(depth):
    """A network whose every layer does something."""
    torch.manual_seed(3)
    network = UNet3d(4, depth)
    torch.nn.init.normal_(network.last.weight, std=0.5)
    return network.eval()


def test_an_untrained_network_changes_nothing(rng):
    volume = torch.from_numpy(rng.standard_normal((2, 1, 16, 16, 16)).astype(np.float32))
    assert torch.equal(UNet3d(4, 2)(volume), volume)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_no_voxel_beyond_the_reach_counts(rng, depth):
    network, reach = busy_network(depth), reach_px(depth)
    edge = 2 * reach + 24
    volume = torch.from_numpy(rng.standard_normal((1, 1, edge, edge, edge)).astype(np.float32))
    at = edge // 2
    seen = (0, 0, *[slice(at - 2 - reach, at + 2 + reach)] * 3)
    centre = (0, 0, *[slice(at - 2, at + 2)] * 3)
    changed = torch.full_like(volume, 5.0)
    changed[seen] = volume[seen]
    with torch.no_grad():
        one, other = network(volume), network(changed)
    assert not torch.allclose(one, other)
    torch.testing.assert_close(one[centre], other[centre])


def test_tiles_fit_together(rng):
    """The whole volume, continued at its faces as the tiles are, gives what the tiles give."""
    network, margins = busy_network(2), (reach_px(2),) * 3
    volume = rng.standard_normal((12, 70, 20)).astype(np.float32)

    def apply(tile):
        with torch.no_grad():
            return network(torch.from_numpy(np.ascontiguousarray(tile))[None, None])[0, 0].numpy()

    made = {}
    for room in (1e9, 1):
        plan = TilePlan.fitting(volume.shape, margins, room, 4)
        made[room] = np.empty_like(volume)
        list(map_tiles([volume], plan, apply, made[room]))
    assert len(TilePlan.fitting(volume.shape, margins, 1, 4).starts) > 2
    np.testing.assert_allclose(made[1], made[1e9], atol=1e-4 * np.abs(made[1e9]).max())
