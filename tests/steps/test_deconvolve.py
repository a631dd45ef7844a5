from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.ctf.transfer import ctf_1d
from cryoloom.algorithms.denoising.deconvolution import filtered_volume
from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf, Microscope, Pose, Tilt, TiltSeries, Tomogram
from cryoloom.steps.deconvolve import DeconvolveParams, deconvolve
from makers.context import MemoryContext


def tomogram_of(volume, defoci=(70000.0, 30000.0, 30400.0, 90000.0)):
    tilts = tuple(
        Tilt(i, a, 0.0, 1.0, pose=Pose(0.0, a), ctf=Ctf(d, d, 0.0))
        for i, (a, d) in enumerate(zip((-60.0, -2.0, 3.0, 60.0), defoci, strict=True))
    )
    return Tomogram(TiltSeries("TS_01", Microscope(), 2.0, tilts), volume, 10.0, volume, volume)


@pytest.fixture
def truth(rng):
    return filtered_volume(rng.standard_normal((40, 80, 60)).astype(np.float32), np.exp(-np.arange(64) / 8))


def test_contrast_hidden_by_the_ctf_comes_back(truth):
    transfer = ctf_1d(np.linspace(0, 0.05, 2048), 30200.0, Microscope())
    seen = filtered_volume(truth, transfer)
    context = MemoryContext()
    made = deconvolve(tomogram_of(seen), DeconvolveParams(), context)
    before, after = (np.corrcoef(np.ravel(v), truth.ravel())[0, 1] for v in (seen, made.volume))
    assert after > before + 0.05
    assert context.figures["defocus_angstrom"] == pytest.approx(30200.0)
    assert context.figures["contrast_gain"] > 1
    assert len(context.records["deconvolution"]["filter"]) == 256
    assert (made.even, made.odd) == (None, None)
    assert made.method.endswith("deconvolved")


def test_little_memory_makes_no_seams(rng, monkeypatch):
    volume = rng.standard_normal((30, 200, 34)).astype(np.float32)
    monkeypatch.setattr("cryoloom.steps.deconvolve._SMALLEST_TILE", 400_000)
    params = DeconvolveParams(highpass_fraction=0.2, defocus_angstrom=1e4)  # reaches 30 voxels
    contexts = [MemoryContext(memory_bytes=size) for size in (4 << 30, 1)]
    made = [deconvolve(tomogram_of(volume), params, context).volume for context in contexts]
    assert [context.last_progress[1] > 1 for context in contexts] == [False, True]
    assert np.abs(made[0] - made[1]).max() < 0.03 * np.std(made[0])


def test_the_defocus_may_be_given_and_must_be_known(truth):
    context = MemoryContext()
    deconvolve(tomogram_of(truth), DeconvolveParams(defocus_angstrom=5e4, phase_flipped=True), context)
    assert context.figures["defocus_angstrom"] == 5e4
    assert min(context.records["deconvolution"]["ctf"]) >= 0
    tomogram = tomogram_of(truth)
    bare = replace(tomogram.series, tilts=tuple(replace(t, ctf=None) for t in tomogram.series.tilts))
    with pytest.raises(DataUnfitError, match="run estimate_ctf"):
        deconvolve(replace(tomogram, series=bare), DeconvolveParams(), MemoryContext())
