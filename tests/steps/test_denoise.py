from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.network_weights import read_network, write_network
from cryoloom.model import Microscope, Pose, Tilt, TiltSeries, Tomogram
from cryoloom.steps.denoise import DenoiseParams, _effort, denoise
from makers.context import MemoryContext

SHAPE = (20, 56, 24)
SMALL = (16, 34, 18)  # where nothing is said about quality
SIZES = {"batch": 2, "box_px": 16, "n_boxes": 24, "filters": 4, "depth": 1}
QUICK = SIZES | {"epochs": 4, "steps_per_epoch": 10, "learning_rate": 5e-3}


def specimen(rng, shape=SHAPE):
    """Smooth dark blobs."""
    points = np.zeros(shape, np.float32)
    points[tuple(rng.integers(0, n, 60) for n in shape)] = -1.0
    smooth = gaussian_filter(points, 2.0)
    return smooth / smooth.std()


def tomogram_of(truth, rng, noise=1.0):
    tilts = tuple(Tilt(i, a, 0.0, 1.0, pose=Pose(0.0, a)) for i, a in enumerate((-60.0, -20.0, 20.0, 60.0)))
    even, odd = (truth + rng.normal(0, noise, truth.shape).astype(np.float32) for _ in range(2))
    series = TiltSeries("TS_01", Microscope(), 2.0, tilts)
    return Tomogram(series, (even + odd) / 2, 10.0, even, odd)


def likeness(one, other):
    return np.corrcoef(np.asarray(one).ravel(), np.asarray(other).ravel())[0, 1]


@pytest.fixture(scope="module")
def trained():
    """A tomogram, its truth, what was made of it, and the context that keeps the network."""
    rng = np.random.default_rng(11)
    truth = specimen(rng)
    tomogram, context = tomogram_of(truth, rng), MemoryContext()
    return tomogram, truth, denoise(tomogram, DenoiseParams(**QUICK), context), context


def test_the_result_is_nearer_to_the_truth(trained):
    tomogram, truth, made, context = trained
    assert likeness(made.volume, truth) > likeness(tomogram.volume, truth) + 0.01
    assert context.figures["loss_ratio"] < 0.98
    assert len(context.records["training"]["validation_loss"]) == QUICK["epochs"]
    assert made.even is None
    assert "denoised" in made.method
    assert context.last_progress[0] == context.last_progress[1]
    # What the network makes keeps the tomogram's grey values.
    assert np.mean(made.volume) == pytest.approx(np.mean(tomogram.volume), abs=0.1)


def test_wedges_are_filled_while_it_learns(rng):
    """The fast twin: the first steps lower the loss, boxes filled on the way included."""
    context = MemoryContext()
    brief = QUICK | {"epochs": 2, "steps_per_epoch": 8, "learning_rate": 2e-3, "n_boxes": 6}
    made = denoise(
        tomogram_of(specimen(rng, SMALL), rng), DenoiseParams(**brief, method="missing_wedge"), context
    )
    assert context.figures["loss_ratio"] < 1
    assert np.isfinite(made.volume).all()
    assert "missing wedge filled" in made.method


@pytest.mark.slow
def test_with_wedges_filled_the_result_is_nearer_to_the_truth(rng):
    truth = specimen(rng)
    tomogram, context = tomogram_of(truth, rng), MemoryContext()
    params = DenoiseParams(**(QUICK | {"epochs": 6, "learning_rate": 2e-3}), method="missing_wedge")
    made = denoise(tomogram, params, context)
    assert likeness(made.volume, truth) > likeness(tomogram.volume, truth) + 0.01
    assert context.figures["loss_ratio"] < 0.98


def test_little_memory_makes_the_same(trained, rng):
    tomogram = tomogram_of(specimen(rng, SMALL), rng)
    params = DenoiseParams(weights=trained[3].files["network.safetensors"], epochs=0)
    made = [denoise(tomogram, params, MemoryContext(memory_bytes=size)).volume for size in (4 << 30, 1)]
    np.testing.assert_allclose(made[0], made[1], atol=1e-3)
    assert np.std(made[0] - tomogram.volume) > 0.1  # it does something


def test_training_goes_on_from_a_checkpoint(rng):
    tomogram = tomogram_of(specimen(rng, SMALL), rng)
    params = DenoiseParams(**(QUICK | {"epochs": 3, "steps_per_epoch": 4}))
    whole = denoise(tomogram, params, MemoryContext()).volume
    broken = MemoryContext()

    class StopError(Exception):
        pass

    def stop(done, total):
        if done == 10:
            raise StopError

    broken.progress = stop
    with pytest.raises(StopError):
        denoise(tomogram, params, broken)
    again = MemoryContext(kept=broken.kept)
    reported = []
    again.progress = lambda done, total: reported.append(done)
    made = denoise(tomogram, params, again).volume
    assert min(reported) == 9  # the third round is made again, the first two are not
    np.testing.assert_array_equal(made, whole)


def test_a_trained_network_is_applied_to_another_tomogram(trained, rng):
    stored = trained[3].files["network.safetensors"]
    weights, facts = read_network(stored)
    assert facts["method"] == "noise2noise"
    assert weights["last.weight"].shape == (1, 4, 1, 1, 1)
    fresh = tomogram_of(specimen(rng, SMALL), rng)
    used = MemoryContext()
    made = denoise(fresh, DenoiseParams(weights=stored, epochs=0), used)
    assert used.figures == {}
    assert np.std(made.volume) < np.std(fresh.volume)


def test_without_a_gpu_the_network_is_small_unless_given(rng):
    tomogram = tomogram_of(specimen(rng, SMALL), rng)
    brief = {"epochs": 1, "steps_per_epoch": 1, "n_boxes": 4, "box_px": 16, "batch": 1, "depth": 1}
    for given, filters in (({}, "8"), ({"filters": 3}, "3")):
        context = MemoryContext()
        denoise(tomogram, DenoiseParams(**brief, **given), context)
        assert read_network(context.files["network.safetensors"])[1]["filters"] == filters
    assert _effort(DenoiseParams(), "cuda:0").filters > _effort(DenoiseParams(), "cpu").filters
    assert _effort(DenoiseParams(depth=3), "cpu").box_px % 8 == 0


def test_what_cannot_be_done_is_said(rng, tmp_path):
    tomogram = tomogram_of(specimen(rng, SMALL), rng)
    with pytest.raises(DataUnfitError, match="halves=true"):
        denoise(replace(tomogram, odd=None), DenoiseParams(), MemoryContext())
    with pytest.raises(ValidationError, match="multiple of 4"):
        DenoiseParams(box_px=30)
    with pytest.raises(ValidationError, match="no weights to apply"):
        DenoiseParams(epochs=0)
    with pytest.raises(UserInputError, match="do not exist"):
        denoise(tomogram, DenoiseParams(weights=tmp_path / "none.safetensors"), MemoryContext())
    facts = {"filters": "4", "depth": "1"}
    write_network(tmp_path / "other.safetensors", {"a": np.zeros(3, np.float32)}, facts)
    with pytest.raises(UserInputError, match="holds no network"):
        denoise(tomogram, DenoiseParams(weights=tmp_path / "other.safetensors"), MemoryContext())
    (tmp_path / "text.safetensors").write_text("no network")
    with pytest.raises(DataUnfitError, match="not a safetensors file"):
        denoise(tomogram, DenoiseParams(weights=tmp_path / "text.safetensors"), MemoryContext())


def test_halves_without_common_signal_are_reported(rng):
    tomogram = tomogram_of(np.zeros(SMALL, np.float32), rng)
    context = MemoryContext()
    denoise(tomogram, DenoiseParams(**(QUICK | {"epochs": 1, "learning_rate": 0.9})), context)
    assert context.figures["loss_ratio"] > 0.4
