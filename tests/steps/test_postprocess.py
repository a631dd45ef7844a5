"""Postprocessing against maps whose resolution, B-factor, mask and blunt direction are known."""

from __future__ import annotations

import warnings
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.shell_correlation import first_fall, shell_correlation, soft_sphere
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Average, FscCurve
from cryoloom.steps.postprocess import PostprocessParams, postprocess
from makers.context import MemoryContext

N, VOXEL, DIAMETER = 64, 2.0, 70.0
RESOLUTION, B_FACTOR = 6.0, 90.0


def radius_of(n=N):
    k = np.fft.fftfreq(n, VOXEL)
    return np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, : n // 2 + 1] ** 2)


def filtered(volume, factor):
    return np.fft.irfftn(np.fft.rfftn(volume) * factor, s=volume.shape, axes=(0, 1, 2))


@pytest.fixture(scope="module")
def particle():
    """White density in a lopsided blob: its spectrum is flat, so all decay is the B-factor's."""
    rng = np.random.default_rng(2)
    z, y, x = (np.indices((N, N, N)) - N // 2) * VOXEL
    solid = ((x / 30) ** 2 + (y / 22) ** 2 + ((z - 6) / 18) ** 2 < 1) | (
        (x - 8) ** 2 + y**2 + (z + 14) ** 2 < 13**2
    )
    density = np.where(solid, 1.0 + rng.standard_normal((N, N, N)), 0.0)
    return solid, filtered(density, np.exp(-B_FACTOR * radius_of() ** 2 / 4))


def noisy_halves(density, solid, seed, resolution=RESOLUTION, noise_factor=None):
    """Halves whose correlation in the solid falls to 0.143 near a resolution: noise of the signal's decay."""
    rng = np.random.default_rng(seed)
    at = np.exp(-B_FACTOR / resolution**2 / 4)
    # SNR of a half is 1/6 where FSC is 1/7; the mask found is four times the solid, whose variance is 1.
    sigma = 0.5 * at * np.sqrt(6.0)
    halves = []
    for _ in range(2):
        noise = sigma * rng.standard_normal((N, N, N))
        halves.append(density + (noise if noise_factor is None else filtered(noise, noise_factor)))
    return halves


def written(folder, mask):
    path = folder / "mask.mrc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # mrcfile's, of a mask that is not finite
        mrcfile.write(path, mask.astype(np.float32), voxel_size=VOXEL)
    return path


def average_of(halves, *, evidence=0.8, symmetry="C1", resolution=8.0, note=""):
    box = N * VOXEL
    shells = tuple(i / box for i in range(N // 2))
    curves = tuple(
        FscCurve(name, shells, (value,) * len(shells))
        for name, value in (("masked", 0.5), ("non-radial", evidence), ("null", 0.0))
    )
    halves = [half.astype(np.float32) for half in halves]
    return Average(
        "all", (halves[0] + halves[1]) / 2, VOXEL, symmetry=symmetry, half1=halves[0], half2=halves[1],
        curves=curves, resolution_angstrom=resolution, resolution_note=note, n_particles=100,
        diameter_angstrom=DIAMETER,
    )  # fmt: skip


def test_resolution_mask_and_b_factor_are_the_truths(particle):
    solid, density = particle
    context = MemoryContext()
    made = postprocess(average_of(noisy_halves(density, solid, 3)), PostprocessParams(), context)
    mask = np.asarray(made.mask)
    assert (mask[solid] > 0.5).mean() > 0.97
    assert mask.mean() < 4.5 * solid.mean()
    # Against the truth within the same mask the whole map falls to 0.5 where its halves fall to 0.143.
    m = torch.tensor(mask)
    whole = torch.tensor((made.half1 + made.half2) / 2) * m
    truth = first_fall(shell_correlation(whole, torch.tensor(density) * m), 0.5, N * VOXEL)
    # The curve is flat there: five seeds were between -9 and +5 % of the truth.
    assert made.resolution_angstrom == pytest.approx(truth, rel=0.12)
    assert context.figures["b_factor_angstrom2"] == pytest.approx(B_FACTOR, abs=25)
    assert context.figures["random_phase_correlation"] < 0.1
    assert context.figures["anisotropy"] < 1.6
    assert not context.warnings
    # 0.5 comes long before 0.143 on so flat a curve.
    local = context.figures["local_resolution_angstrom"]
    assert 0.95 * made.resolution_angstrom < local < 3.0 * made.resolution_angstrom


def test_sharpening_gives_the_amplitudes_back(particle):
    _, density = particle
    halves = [density + 1e-4 * noise for noise in np.random.default_rng(1).standard_normal((2, N, N, N))]
    params = PostprocessParams(lowpass_angstrom=4.4, measure_local=False)
    made = postprocess(average_of(halves), params, MemoryContext())
    flat = filtered(density, np.exp(B_FACTOR * radius_of() ** 2 / 4))
    spectrum, true = (
        np.abs(np.fft.rfftn(volume * np.asarray(made.mask))) ** 2 for volume in (made.map, flat)
    )
    shell = np.rint(radius_of() * N * VOXEL).astype(int)
    ratio = [spectrum[shell == s].sum() / true[shell == s].sum() for s in range(4, 26)]
    assert max(ratio) / min(ratio) < 1.5
    assert "limited by the pixel size" in made.resolution_note


def test_a_blunt_direction_is_found(particle):
    solid, density = particle
    k = np.fft.fftfreq(N, VOXEL)
    along_z = np.abs(k[:, None, None]) / np.maximum(radius_of(), 1e-9)
    worse = 1.0 + 6.0 * np.clip((along_z - 0.8) / 0.1, 0, 1)
    context = MemoryContext()
    halves = noisy_halves(density, solid, 5, noise_factor=worse)
    postprocess(average_of(halves), PostprocessParams(measure_local=False), context)
    assert context.figures["anisotropy"] > 1.6
    worst = next(name for name in context.records["directions"]["curves"] if name.startswith("worst"))
    direction = tuple(float(value) for value in worst[worst.index("(") + 1 : -1].split(","))
    assert abs(direction[2]) > 0.8
    assert context.figures["worst_direction_angstrom"] > 1.2 * RESOLUTION


def test_a_worse_part_has_a_worse_local_resolution(particle):
    solid, density = particle
    x = (np.indices((N, N, N))[2] - N // 2) * VOXEL
    rng = np.random.default_rng(4)
    stronger = 1.0 + 9.0 * (x > 0)
    halves = [density + 0.2 * stronger * rng.standard_normal((N, N, N)) for _ in range(2)]
    made = postprocess(average_of(halves), PostprocessParams(), MemoryContext())
    local = np.asarray(made.local_resolution)
    assert np.isfinite(local).all()  # the engine refuses volumes that hold other values
    assert (local == 0.0).any()  # outside the mask
    local = np.where(local > 0, local, np.nan)
    assert np.isnan(local[np.asarray(made.mask) == 0]).all()
    inside = solid & np.isfinite(local)
    good, poor = (np.median(local[inside & side]) for side in (x < -12, x > 12))
    assert poor > 1.25 * good


def test_noise_gets_no_resolution(tmp_path):
    rng = np.random.default_rng(9)
    halves = list(rng.standard_normal((2, N, N, N)))
    context = MemoryContext()
    mask = soft_sphere(N, 16, 4).numpy()
    average = average_of(halves)
    made = postprocess(average, PostprocessParams(mask=written(tmp_path, mask)), context)
    assert made.resolution_angstrom is None or made.resolution_angstrom > 25
    assert "b_factor_angstrom2" not in context.figures


def test_agreement_without_poses_gets_no_resolution(particle):
    solid, density = particle
    halves = noisy_halves(density, solid, 3)
    context = MemoryContext()
    made = postprocess(average_of(halves, evidence=0.05), PostprocessParams(), context)
    assert made.resolution_angstrom is None
    assert "does not depend on orientation" in context.warnings[0]
    given_none = average_of(halves, resolution=None, note="the halves agree only in a shell")
    again = postprocess(given_none, PostprocessParams(), MemoryContext())
    assert again.resolution_angstrom is None
    assert again.resolution_note == "the halves agree only in a shell"


def test_poses_in_doubt_get_no_resolution_however_well_the_halves_agree(particle):
    solid, density = particle
    context = MemoryContext()
    average = replace(average_of(noisy_halves(density, solid, 3)), pose_doubt="shells do not tell")
    made = postprocess(average, PostprocessParams(), context)
    assert made.resolution_angstrom is None
    assert made.local_resolution is None
    assert made.pose_doubt == "shells do not tell"
    assert "gives no resolution: shells do not tell" in context.warnings[0]
    # Halves of another program without a doubt are judged here.
    (unmasked,) = (replace(curve, name="unmasked") for curve in average.curves[:1])
    foreign = replace(average, pose_doubt="", curves=(unmasked,), resolution_angstrom=None)
    judged = postprocess(foreign, PostprocessParams(measure_local=False), MemoryContext())
    assert judged.resolution_angstrom == pytest.approx(RESOLUTION, rel=0.5)


def test_a_hard_mask_is_reported(particle, tmp_path):
    solid, density = particle
    context = MemoryContext()
    mask = np.random.default_rng(1).random((N, N, N)) < 0.1
    postprocess(
        average_of(noisy_halves(density, solid, 3)),
        PostprocessParams(mask=written(tmp_path, (mask & solid).astype(np.float32)), measure_local=False),
        context,
    )
    warnings = " ".join(context.warnings)
    assert "The mask alone gives a correlation" in warnings or "halves do not agree" in warnings


def test_a_detectors_transfer_is_divided_out(particle, tmp_path):
    _, density = particle
    star = tmp_path / "mtf.star"
    table = "".join(f"{f:.3f} {np.exp(-2 * f):.5f}\n" for f in np.arange(0, 0.51, 0.01))
    star.write_text(f"data_\n\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n{table}\n")
    blunt = filtered(density, np.exp(-2 * radius_of() * VOXEL))
    halves = [blunt + 1e-4 * noise for noise in np.random.default_rng(1).standard_normal((2, N, N, N))]
    params = PostprocessParams(mtf=star, mtf_pixel_angstrom=VOXEL, lowpass_angstrom=4.4, measure_local=False)
    context = MemoryContext()
    postprocess(average_of(halves), params, context)
    assert context.figures["b_factor_angstrom2"] == pytest.approx(B_FACTOR, abs=20)
    with pytest.raises(UserInputError, match="mtf_pixel_angstrom"):
        postprocess(average_of(halves), PostprocessParams(mtf=star), MemoryContext())


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.ones((32, 32, 32)), r"the mask has 32 x 32 x 32 voxels, but the average has 64 x 64 x 64"),
        (np.full((N, N, N), 3.0), r"values from 3 to 3; expected finite values from 0 to 1"),
        (np.full((N, N, N), np.nan), r"expected finite values"),
    ],
)
def test_masks_that_do_not_fit(particle, mask, sentence, tmp_path):
    solid, density = particle
    with pytest.raises(UserInputError, match=sentence):
        postprocess(
            average_of(noisy_halves(density, solid, 3)),
            PostprocessParams(mask=written(tmp_path, mask)),
            MemoryContext(),
        )


def test_an_average_without_halves_is_refused(particle):
    _, density = particle
    with pytest.raises(DataUnfitError, match="no halves"):
        postprocess(Average("all", density, VOXEL), PostprocessParams(), MemoryContext())
