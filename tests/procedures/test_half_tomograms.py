"""Agreement of half tomograms, and the tilts that have no halves."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.model import Tilt
from cryoloom.procedures.half_tomograms import (
    COMPARED_VOXELS,
    HALF_FIGURES,
    compare_halves,
    tell_tilts_without_halves,
)


def halves(rng, shape, cutoff_per_px):
    """A common signal up to a frequency, in two independent noises."""
    k = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    low = np.sqrt(sum(axis**2 for axis in k)) < cutoff_per_px
    signal = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) * low).real
    noises = rng.standard_normal((2, *shape)) * 0.5 * signal.std()
    return [(signal + noise).astype(np.float32) for noise in noises]


def test_halves_agree_up_to_the_frequency_of_their_common_signal(rng, context):
    even, odd = halves(rng, (64, 64, 64), 0.2)
    compare_halves(even, odd, 10.0, context)
    # The curve is smoothed over neighbouring shells, which carries the signal a few of them further.
    assert 10.0 / (0.2 + 3 / 64) <= context.figures["half_resolution_angstrom"] <= 10.0 / 0.2
    assert 0.5 < context.figures["half_correlation"] < 1
    record = context.records["half_correlation"]
    assert len(record["frequency_per_angstrom"]) == len(record["correlation"])
    assert max(record["frequency_per_angstrom"]) == pytest.approx(0.05, rel=0.05)


def test_halves_that_agree_at_every_frequency_agree_to_nyquist(rng, context):
    even, _ = halves(rng, (40, 40, 40), 0.9)
    compare_halves(even, even, 10.0, context)
    assert context.figures["half_correlation"] == pytest.approx(1.0, abs=0.1)  # shell 0 has none
    assert context.figures["half_resolution_angstrom"] == pytest.approx(20.0, rel=0.03)


def test_halves_without_a_common_signal_have_no_resolution(rng, context):
    even, odd = rng.standard_normal((2, 40, 40, 40)).astype(np.float32)
    compare_halves(even, odd, 10.0, context)
    assert abs(context.figures["half_correlation"]) < 0.3  # the first shells hold few samples
    assert "half_resolution_angstrom" not in context.figures
    assert "does not fall through 0.143" in context.reasons_not_measurable["half_resolution_angstrom"]


def test_only_the_middle_of_large_halves_is_read(rng, context):
    class Volume:
        """Notes what is read of it."""

        shape, read = (8, 500, 400), None

        def __getitem__(self, index):
            self.read = index
            return rng.standard_normal([part.stop - part.start for part in index]).astype(np.float32)

    even, odd = Volume(), Volume()
    compare_halves(even, odd, 10.0, context)
    assert even.read == odd.read == (slice(0, 8), slice(154, 346), slice(104, 296))
    assert COMPARED_VOXELS == 192


def test_tilts_of_a_single_frame_are_named(context):
    single = Tilt(0, 12.0, 0.0, 3.0, frame_shifts_yx_angstrom=((0.0, 0.0),))
    whole = Tilt(1, 15.0, 3.0, 6.0)
    tell_tilts_without_halves("TS_01", (single, whole), (whole,), context)
    assert "TS_01: the even and odd tomograms lack the tilts at 12.0 deg" in context.warnings[0]


def test_nothing_is_said_where_all_tilts_have_halves(context):
    whole = Tilt(1, 15.0, 3.0, 6.0)
    tell_tilts_without_halves("TS_01", (whole,), (whole,), context)
    assert context.warnings == []


def test_its_figures_are_declared():
    assert [figure.name for figure in HALF_FIGURES] == ["half_correlation", "half_resolution_angstrom"]
