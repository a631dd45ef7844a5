import numpy as np
import pytest
import torch

from cryoloom.algorithms.denoising.missing_wedge import (
    measured_region,
    random_rotations,
    turned,
    wedge_loss,
    with_wedge_filled,
)
from cryoloom.geometry.projection import projection_matrices


@pytest.mark.parametrize("tilt", [-50.0, -20.0, 0.0, 35.0])
def test_what_a_projection_measures_is_in_the_region(tilt):
    """The image plane of a tilt, in the specimen's frame (conventions.md): rows of its projection matrix."""
    edge = 32
    region = measured_region(edge, (tilt - 2.0, tilt + 2.0)).numpy()
    rows = projection_matrices(0.0, tilt)[:2]
    for u, v in [(9, 0), (7, 5), (3, -10)]:
        k = np.rint(u * rows[0] + v * rows[1]).astype(int)
        k = k if k[0] >= 0 else -k
        k_exact = u * rows[0]
        if abs(np.hypot(*k[[0, 2]]) - np.hypot(*k_exact[[0, 2]])) < 0.2 and k[0] > 0:
            angle = np.degrees(np.arctan2(k[2], k[0]))
            assert region[k[2], k[1], k[0]] == (abs((angle - tilt + 90) % 180 - 90) <= 2.0)
    assert region[:, :, 0][0].all()  # along the tilt axis


def test_the_region_is_as_large_as_the_range():
    region = measured_region(64, (-60.0, 60.0)).float()
    radius = torch.fft.fftfreq(64)[:, None] ** 2 + torch.fft.rfftfreq(64)[None] ** 2
    disc = (radius > 0.1**2) & (radius < 0.45**2)
    assert region[:, 3][disc].mean() == pytest.approx(120 / 180, abs=0.03)


def test_turning_a_box_turns_its_region(rng):
    """Content at r of the turned box is the tomogram's at R r; so it is with frequencies."""
    quarter = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]])  # x to -z, z to x
    boxes = torch.from_numpy(rng.standard_normal((1, 1, 17, 17, 17)).astype(np.float32))
    expected = torch.rot90(boxes, 1, (4, 2))
    other = torch.rot90(boxes, 1, (2, 4))
    made = turned(boxes, quarter, 17)
    errors = [float((made - candidate).abs().max()) for candidate in (expected, other)]
    assert min(errors) < 1e-4
    region = measured_region(16, (-40.0, 40.0), quarter)[0]
    full = measured_region(16, (-40.0, 40.0))
    assert float(region[8 - 3, 0, 0] == 0) or region[0, 0, 5].item() is False
    assert full[0, 0, 5].item()
    assert not region[0, 0, 5].item()  # x frequencies of the turned box are z frequencies of the tomogram


def test_rotations_are_rotations(rng):
    rotations = random_rotations(50, rng)
    identity = rotations @ rotations.transpose(1, 2)
    torch.testing.assert_close(identity, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotations).min() > 0.99
    assert rotations.mean(dim=0).abs().max() < 0.3


def test_filling_keeps_what_was_measured(rng):
    boxes, made = torch.from_numpy(rng.standard_normal((2, 3, 1, 16, 16, 16)).astype(np.float32))
    filled = with_wedge_filled(boxes, made, (-50.0, 50.0))
    known = measured_region(16, (-50.0, 50.0))
    inner = (slice(None), slice(None), slice(None), slice(1, 8), slice(1, 8))
    spectra = [torch.fft.rfftn(v, dim=(-3, -2, -1)) for v in (boxes, made, filled)]
    expected = torch.where(known, spectra[0], spectra[1])
    torch.testing.assert_close(spectra[2][inner], expected[inner], atol=1e-3, rtol=1e-3)


def test_a_perfect_network_has_no_loss():
    smooth = torch.zeros((2, 1, 24, 24, 24))
    smooth[:, :, 8:16, 8:16, 8:16] = 1.0
    rotations = torch.eye(3).expand(2, 3, 3)
    truth = turned(smooth, rotations, 16)
    loss = wedge_loss(lambda given: truth, smooth, smooth, rotations, 16, (-60.0, 60.0))
    nothing = wedge_loss(torch.nn.Identity(), smooth, smooth, rotations, 16, (-60.0, 60.0))
    assert float(loss) < 1e-9
    # With no turn the second wedge is the first, which nobody knows: doing nothing is not punished either.
    assert float(nothing) < 1e-9
    turned_by = torch.from_numpy(projection_matrices(0.0, [90.0, 60.0]).astype(np.float32))
    assert float(wedge_loss(torch.nn.Identity(), smooth, smooth, turned_by, 16, (-60.0, 60.0))) > 1e-5
