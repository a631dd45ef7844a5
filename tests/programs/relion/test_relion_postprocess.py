"""RELION's postprocessing, run for real where RELION is installed: halves of one map with known noise."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoloom.contract.program import Workplace
from cryoloom.errors import DataUnfitError
from cryoloom.model import Average
from cryoloom.programs.relion.relion_postprocess import (
    RelionPostprocessParams,
    calls,
    parse,
    relion_postprocess,
)

N, VOXEL = 48, 3.0


@pytest.fixture
def noisy(rng):
    """Halves of a ball with texture; their agreement ends near 12 A, where noise takes over."""
    z, y, x = np.indices((N, N, N)) - N // 2
    ball = np.hypot(np.hypot(x, y), z) < 12
    density = gaussian_filter(rng.normal(size=(N, N, N)), 1.3) * ball
    density /= density[ball].std()
    halves = [(density + 0.8 * rng.normal(size=density.shape)).astype(np.float32) for _ in range(2)]
    mask = np.clip(gaussian_filter(ball.astype(np.float32), 2.0) * 1.5, 0, 1).astype(np.float32)
    return Average("all", density.astype(np.float32), VOXEL, half1=halves[0], half2=halves[1], mask=mask)


@pytest.mark.skipif(shutil.which("relion_postprocess") is None, reason="RELION is not installed")
def test_real_relion_judges_real_halves(noisy, context):
    made = relion_postprocess(
        replace(noisy, pose_doubt="shells do not tell"),
        RelionPostprocessParams(b_factor_angstrom2=-30.0, randomize_at_fsc=0.7),
        context,
    )
    stated = context.figures["stated_resolution_angstrom"]
    masked = next(curve for curve in made.curves if curve.name == "masked")
    assert len(masked.correlation) == N // 2 + 1
    # The masked curve crosses 0.143 where RELION says: one shell of 144 A is 1/144 per angstrom wide.
    crossed = next(
        f for f, c in zip(masked.frequency_per_angstrom, masked.correlation, strict=True) if c < 0.143
    )
    assert abs(1.0 / stated - crossed) < 3 / (N * VOXEL)
    assert context.figures["b_factor_angstrom2"] == 30.0
    assert made.resolution_angstrom is None  # RELION's statement is a figure, not the average's resolution
    assert made.pose_doubt == "shells do not tell"
    assert any("gives no resolution: shells do not tell" in warning for warning in context.warnings)
    assert made.map.shape == (N, N, N)
    np.testing.assert_allclose(made.half1[...], noisy.half1)


def test_it_needs_halves(noisy, context):
    with pytest.raises(DataUnfitError, match="has no halves to compare"):
        relion_postprocess(replace(noisy, half1=None), RelionPostprocessParams(), context)


def test_a_mask_of_relions_own_and_a_measured_b_factor(noisy):
    (call,) = calls(replace(noisy, mask=None), RelionPostprocessParams(mask_extend_px=4.0), Workplace())
    assert call.words_of("--extend_inimask") == ("--extend_inimask", "4")
    assert call.words_of("--auto_bfac") == ("--auto_bfac",)
    assert call.words_of("--mask") == ()


def test_a_file_without_a_result(tmp_path):
    (tmp_path / "postprocess.star").write_text("data_general\n\n_rlnUnfilteredMapHalf1 half1.mrc\n")
    with pytest.raises(DataUnfitError, match="holds no result of a postprocessing"):
        parse(tmp_path / "postprocess.star")
