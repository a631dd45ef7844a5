"""SIRT and SART: formulas in their limits, monotone residuals, an x-tilt, what is not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.reconstruction.iterative_reconstruction import plan_iterations
from cryoloom.errors import DataUnfitError
from cryoloom.kernels.projection.project import project
from cryoloom.kernels.projection.project_torch import add_back_projection_torch, project_torch

SHAPE, N_COLUMNS = (16, 32, 48), 66
TILTS = np.arange(-60, 61, 6.0)


def plan(n_subsets=1, n_iterations=20, relaxation=1.0, stop_change=0.0, tilts=TILTS, shape=SHAPE, x_tilt=0.0):
    return plan_iterations(
        shape,
        N_COLUMNS,
        tilts,
        [x_tilt] * len(tilts),
        n_subsets=n_subsets,
        n_iterations=n_iterations,
        relaxation=relaxation,
        stop_change=stop_change,
    )


def projections(volume_zyx, made):
    """Aligned rows of a volume, as the plan's own geometry sees it."""
    images = torch.empty((len(made.columns), N_COLUMNS + 2, 32))
    project(volume_zyx.transpose(1, 2).contiguous(), made.columns, images)
    return images[:, 1:-1].transpose(1, 2).contiguous()


@pytest.fixture
def volume():
    """Four blobs, different in every row."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    blobs = [(8, 10, 20, 1.0), (5, 20, 30, -0.7), (10, 26, 12, 0.5), (7, 4, 38, 0.8)]
    total = sum(h * np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 8) for a, b, c, h in blobs)
    return torch.from_numpy(total.astype(np.float32))


def test_one_view_is_smeared_along_the_beam():
    # One view without tilt: the first iteration shares each pixel equally among its beam and is exact.
    made = plan(tilts=[0.0], n_iterations=3)
    rows = torch.zeros((1, 32, N_COLUMNS))
    rows[0, 5, N_COLUMNS // 2 + 3] = 16.0
    found, course = made.solve(rows)
    expected = torch.zeros(SHAPE)
    expected[:, 5, 27] = 1.0
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(course, [1, 0, 0], atol=1e-5)


def test_the_residual_falls_in_every_iteration_towards_the_volume(volume, rng):
    made = plan(n_iterations=60)
    rows = projections(volume, made) + 0.05 * torch.from_numpy(
        rng.standard_normal((21, 32, N_COLUMNS)).astype("f4")
    )
    found, course = made.solve(rows)
    assert len(course) == 60
    assert (np.diff(course) < 0).all()
    assert course[0] == pytest.approx(1)
    # The wedge that is not measured stays empty: correlation, not equality.
    assert np.corrcoef(found.ravel(), volume.ravel())[0, 1] > 0.9


def test_without_noise_the_projections_are_matched(volume):
    made = plan(n_iterations=300)
    rows = projections(volume, made)
    found, course = made.solve(rows)
    assert course[-1] < 0.02
    again = projections(found.contiguous(), made)
    assert float((again - rows).norm() / rows.norm()) < 0.03


def test_subsets_are_faster_at_first_and_then_calm_down(volume):
    rows = projections(volume, plan())
    sirt = plan(n_iterations=5).solve(rows)[1]
    sart = plan(n_subsets=5, n_iterations=40, stop_change=0.01).solve(rows)[1]
    assert sart[4] < 0.6 * sirt[4]
    assert sart[-1] < 0.1


def test_stops_where_little_changes(volume, rng):
    rows = projections(volume, plan()) + torch.from_numpy(
        rng.standard_normal((21, 32, N_COLUMNS)).astype("f4")
    )
    course = plan(n_iterations=200, stop_change=0.01).solve(rows)[1]
    assert 3 < len(course) < 100
    falls = -np.diff(course) / course[:-1]
    assert falls[-1] < 0.01
    assert (falls[:-1] >= 0.01).all()


def test_pixels_not_seen_do_not_pull(volume):
    made = plan(n_iterations=40)
    rows = projections(volume, made)
    cut = rows.clone()
    cut[:, :, :12] = torch.nan
    cut[3] = torch.nan
    whole, partly = made.solve(rows)[0], made.solve(cut)[0]
    assert torch.isfinite(partly).all()
    middle = (slice(None), slice(None), slice(16, 32))
    assert np.corrcoef(whole[middle].ravel(), partly[middle].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("x_tilt", [0.0, 6.0])
def test_the_way_of_a_gpu_is_the_same(volume, monkeypatch, device, x_tilt):
    made = plan(n_iterations=6, n_subsets=4, relaxation=0.5, x_tilt=x_tilt)
    rows = projections(volume, made)
    rows = torch.cat([rows, rows[:, : 2 * made.halo_rows]], dim=1)
    expected = torch.cat(list(made.strips(rows, 0)), dim=1)
    # Without a GPU the same code runs here.
    monkeypatch.setattr("cryoloom.algorithms.reconstruction.iterative_reconstruction.project", project_torch)
    monkeypatch.setattr(
        "cryoloom.algorithms.reconstruction.iterative_reconstruction.add_back_projection",
        add_back_projection_torch,
    )
    found = torch.cat(list(made.strips(rows.to(device), 0)), dim=1)
    assert found.device.type == device
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-3)


def test_strips_are_what_is_solved_alone(volume):
    made = plan(n_iterations=4, shape=(16, 40, 48))
    rows = torch.cat([projections(volume, made), projections(volume, made)[:, :8]], dim=1)
    strips = list(made.strips(rows, 0))
    assert [strip.shape[1] for strip in strips] == [32, 8]
    torch.testing.assert_close(strips[0], made.solve(rows[:, :32])[0])
    torch.testing.assert_close(strips[1], made.solve(rows[:, 32:])[0])


def test_an_x_tilt_is_a_shear(volume):
    # Without tilt, an x-tilt moves height z to row y - z tan: a column of constant y is found again upright.
    angle = 8.0
    shape = (16, 64, 48)
    made = plan(n_iterations=30, shape=shape, x_tilt=angle, tilts=np.arange(-60, 61, 4.0))
    straight = plan(n_iterations=30, shape=shape, tilts=np.arange(-60, 61, 4.0))
    z, y, x = np.mgrid[: shape[0], : shape[1] + 2 * made.halo_rows, : shape[2]].astype(float)
    sheared_y = y - made.halo_rows + (z - 8) * np.tan(np.deg2rad(angle))
    blob = np.exp(-((z - 11) ** 2 + (sheared_y - 40) ** 2 + (x - 20) ** 2) / 12).astype(np.float32)
    n_rows = blob.shape[1]
    pieces = [projections(torch.from_numpy(blob[:, at : at + 32]), made) for at in range(0, n_rows - 31, 32)]
    rows = torch.zeros((31, n_rows, N_COLUMNS))
    for i, piece in enumerate(pieces):
        rows[:, 32 * i : 32 * i + 32] = piece
    found = torch.cat(list(made.strips(rows, 0)), dim=1)
    assert found.shape == shape
    at = np.unravel_index(int(found.argmax()), shape)
    assert at == (11, 40, 20)
    assert straight.halo_rows == 0


def test_refuses_x_tilts_that_differ():
    with pytest.raises(DataUnfitError, match="not one x-tilt"):
        plan_iterations(
            SHAPE, N_COLUMNS, [0, 5], [0, 2], n_subsets=1, n_iterations=3, relaxation=1, stop_change=0
        )
