"""Properties of a session that a user gives: which series, which microscope, which axis."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cryoloom.contract.acquisition import IMPORT_RECORDS, AcquisitionParams, each_read
from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.tilt_axis import AxisReading
from makers.context import MemoryContext


def test_series_are_chosen_by_patterns():
    params = AcquisitionParams(series="TS_0*, lamella?")
    assert params.wants("TS_07")
    assert params.wants("lamella3")
    assert not params.wants("TS_17")
    assert AcquisitionParams().wants("anything")


def test_the_microscope_has_the_voltage_of_the_metadata_and_the_rest_of_the_user():
    microscope = AcquisitionParams(spherical_aberration_mm=2.0, amplitude_contrast=0.07).microscope(200.0)
    assert microscope.voltage_kv == 200.0
    assert (microscope.spherical_aberration_mm, microscope.amplitude_contrast) == (2.0, 0.07)


def test_an_axis_of_the_user_is_applied_and_that_of_the_metadata_kept():
    reading = AxisReading(84.3, "title")
    nominal = AcquisitionParams().nominal_axis(reading)
    assert (nominal.told, nominal.told_by, nominal.applied) == (84.3, "mdoc title", 84.3)
    overruled = AcquisitionParams(tilt_axis_deg=-95.0).nominal_axis(reading)
    assert (overruled.told, overruled.applied) == (84.3, -95.0)
    alone = AcquisitionParams(tilt_axis_deg=-95.0).nominal_axis(None)
    assert (alone.told, alone.told_by, alone.applied) == (-95.0, "user", -95.0)
    assert AcquisitionParams().nominal_axis(None).applied is None


@pytest.mark.parametrize(
    "values", [{"tilt_axis_deg": 400}, {"handedness": 0}, {"scheme": "random"}, {"voltage": 300}]
)
def test_what_cannot_be_is_refused(values):
    with pytest.raises(ValidationError):
        AcquisitionParams(**values)


def test_imports_record_their_evidence():
    assert [(record.name, record.shows) for record in IMPORT_RECORDS] == [("import", "evidence")]


def test_what_cannot_be_read_is_its_error_with_its_name():
    def read(number):
        if number == 2:
            raise DataUnfitError("no angle", got=0)
        return 10 * number

    context = MemoryContext()
    made = list(each_read([1, 2, 3], lambda number: f"TS_0{number}", read, context))
    assert (made[0], made[2]) == (10, 30)
    assert (made[1].message, made[1].facts) == ("no angle", {"got": 0, "series": "TS_02"})
