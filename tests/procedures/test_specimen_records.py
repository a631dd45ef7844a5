"""What is reported of a specimen depends on whether its place is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment.specimen_middle import FoundSpecimen
from cryoloom.algorithms.series.transmitted_thickness import TransmittedThickness
from cryoloom.algorithms.specimen.slab import LEAST_CONTRAST, SlabFit
from cryoloom.procedures.specimen_records import report_specimen

PLACE = ("thickness_angstrom", "thickness_error_angstrom", "z_offset_angstrom", "middle_error_angstrom")
PRETILT = ("pretilt_x_deg", "pretilt_y_deg")


def found_specimen(*, thickness_error=30.0, contrast=5 * LEAST_CONTRAST, tilt_error=1.0):
    """A slab of 1000 A."""
    fit = SlabFit(
        thickness_angstrom=1000.0,
        z_offset_angstrom=40.0,
        slope_x=0.1,
        slope_y=0.0,
        tilt_error_deg=tilt_error,
        contrast=contrast,
        depth_angstrom=np.linspace(-800, 800, 81),
        profile=np.ones(81),
        middle_error_angstrom=20.0,
        thickness_error_angstrom=thickness_error,
        n_features=12.0,
    )
    return FoundSpecimen(fit, 0, None, torch.rand(20, 30, 30), 20.0)


def test_a_known_place_is_reported(context):
    report_specimen(found_specimen(), context)
    assert context.figures["thickness_angstrom"] == 1000.0
    assert context.figures["z_offset_angstrom"] == 40.0
    assert context.figures["pretilt_y_deg"] == pytest.approx(-5.7, abs=0.1)
    assert not context.warnings


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (found_specimen(thickness_error=400.0), "about 12 features lie in it"),
        (found_specimen(contrast=0.5 * LEAST_CONTRAST), "too little contrast"),
    ],
)
def test_a_doubted_place_is_not_measurable_and_the_reason_is_the_one_warning(context, found, reason):
    report_specimen(found, context)
    assert all(reason in context.reasons_not_measurable[name] for name in PLACE + PRETILT)
    assert len(context.warnings) == 1
    assert reason in context.warnings[0]
    assert context.records["slab"]["slice"]  # the candidate can be looked at


def test_a_pretilt_alone_may_be_unknown(context):
    report_specimen(found_specimen(tilt_error=4.0), context)
    assert context.figures["thickness_angstrom"] == 1000.0
    assert set(PRETILT) <= set(context.reasons_not_measurable)
    assert "pretilt" in context.warnings[0]


def test_a_thickness_by_transmission_is_reported_with_what_it_rests_on(context):
    found = replace(found_specimen(thickness_error=400.0), by_transmission=True)
    report_specimen(found, context)
    assert context.figures["thickness_error_angstrom"] == 400.0
    (warning,) = context.warnings
    assert "the thickness is known to 400 of 1000 A only" in warning
    assert "transmit" in warning


def test_a_contradiction_of_the_transmitted_electrons_is_reported_with_both_values(context):
    found = replace(found_specimen(thickness_error=600.0), contradicted_by=TransmittedThickness(400.0, 80.0))
    assert found.is_certain
    report_specimen(found, context)
    (warning,) = context.warnings
    assert "known to 600 of 1000 A" in warning
    assert "transmit show 400 A" in warning
