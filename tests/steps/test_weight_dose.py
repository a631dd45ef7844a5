"""weight_dose: the filter is the published formula in order of acquisition, on images and halves alike."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.series.dose import dose_weights, mean_dose_weights
from cryoloom.errors import DataUnfitError
from cryoloom.model import Microscope, Stack, Tilt, TiltSeries
from cryoloom.steps.weight_dose import WeightDoseParams, weight_dose

SHAPE = (63, 64)
PIXEL_ANGSTROM = 2.5


def series(rng, doses=((3.0, 6.0), (0.0, 3.0), (6.0, 9.0)), voltage_kv=300.0):
    tilts = tuple(
        Tilt(
            acquisition_index=int(start // 3),
            nominal_tilt_deg=3.0 * i,
            dose_start_per_angstrom2=start,
            dose_end_per_angstrom2=end,
            section=i,
        )
        for i, (start, end) in enumerate(doses)
    )
    stack = [rng.standard_normal((len(tilts), *SHAPE)).astype(np.float32) for _ in range(3)]
    return TiltSeries(
        "TS",
        Microscope(voltage_kv=voltage_kv),
        1.25,
        tilts,
        stack=Stack(stack[0], PIXEL_ANGSTROM, *stack[1:]),
    )


def frequency():
    return np.hypot(
        np.fft.fftfreq(SHAPE[0], PIXEL_ANGSTROM)[:, None], np.fft.rfftfreq(SHAPE[1], PIXEL_ANGSTROM)
    )


@pytest.mark.parametrize("voltage_kv", [300.0, 200.0])
@pytest.mark.parametrize("dose_point", ["mean", "end"])
def test_each_tilt_is_filtered_by_its_own_dose(rng, context, dose_point, voltage_kv):
    before = series(rng, voltage_kv=voltage_kv)
    after = weight_dose(before, WeightDoseParams(dose_point=dose_point), context)
    for tilt in before.tilts:
        start, end = tilt.dose_start_per_angstrom2, tilt.dose_end_per_angstrom2
        expected = (
            dose_weights(frequency(), end, voltage_kv)
            if dose_point == "end"
            else mean_dose_weights(frequency(), start, end, voltage_kv)
        )
        for made, given in (
            (after.weighted.images, before.stack.images),
            (after.weighted.even, before.stack.even),
            (after.weighted.odd, before.stack.odd),
        ):
            filtered = np.fft.irfft2(np.fft.rfft2(given[tilt.section]) * expected, s=SHAPE)
            assert_allclose(made[tilt.section], filtered, atol=2e-5)  # float32 transforms


def test_the_unweighted_stack_stays(rng, context):
    before = series(rng)
    after = weight_dose(before, WeightDoseParams(), context)
    assert after.stack is before.stack
    assert after.best_stack is after.weighted
    assert after.weighted.pixel_size_angstrom == PIXEL_ANGSTROM
    assert context.figures["half_amplitude_last_angstrom"] > 2.5


def test_dose_before_the_first_tilt_counts(rng, context):
    before = series(rng, doses=((0.0, 3.0),))
    after = weight_dose(before, WeightDoseParams(dose_point="end", extra_dose_per_angstrom2=10.0), context)
    expected = np.fft.irfft2(np.fft.rfft2(before.stack.images[0]) * dose_weights(frequency(), 13.0), s=SHAPE)
    assert_allclose(after.weighted.images[0], expected, atol=2e-5)


def test_a_series_without_dose_is_refused(rng, context):
    with pytest.raises(DataUnfitError, match="no dose"):
        weight_dose(series(rng, doses=((0.0, 0.0),)), WeightDoseParams(), context)
