"""Parameters of an acquisition that every import has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

from pydantic import Field

from cryoloom.contract.figures import Record
from cryoloom.contract.item_names import is_named
from cryoloom.contract.step import StepContext, StepParams
from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.tilt_axis import AxisReading
from cryoloom.model import Microscope, Sourced

__all__ = ["IMPORT_RECORDS", "AcquisitionParams", "each_read"]

Found = TypeVar("Found")
Imported = TypeVar("Imported")

IMPORT_RECORDS = (
    Record(
        "import",
        "What each source reports for a quantity of the series, which one is used, and what contradicts it.",
        shows="evidence",
    ),
)


class AcquisitionParams(StepParams):
    """Properties of the session that override the metadata, and which series to import."""

    series: str = Field("*", description="Names of the series to import, with * and ?, separated by commas.")
    voltage_kv: float | None = Field(
        None, gt=0, description="Acceleration voltage. Unset: the mdoc's, or 300."
    )
    spherical_aberration_mm: float = Field(2.7, ge=0, description="Cs of the objective lens.")
    amplitude_contrast: float = Field(0.1, ge=0, lt=1, description="Amplitude contrast.")
    initial_dose_per_angstrom2: float = Field(0.0, ge=0, description="Dose before the first tilt, e/A^2.")
    tilt_axis_deg: float | None = Field(
        None, ge=-360, le=360, description="Tilt axis from image +y, counter-clockwise. Unset: the mdoc's."
    )
    tilt_offset_deg: float | None = Field(
        None, ge=-60, le=60, description="Pretilt of a lamella, added to all tilt angles."
    )
    scheme: Literal["dose_symmetric", "ascending", "descending"] | None = Field(
        None, description="Order of acquisition, if times, doses and names do not give it."
    )
    handedness: Literal[-1, 1] | None = Field(
        None, description="Sign of the defocus gradient, if it is known for the microscope."
    )

    def wants(self, name: str) -> bool:
        """Whether a series of this name is imported."""
        return is_named(name, self.series)

    def microscope(self, voltage_kv: float) -> Microscope:
        """The microscope at a voltage."""
        return Microscope(voltage_kv, self.spherical_aberration_mm, self.amplitude_contrast)

    def nominal_axis(self, reading: AxisReading | None) -> Sourced:
        """The axis by the metadata, overridden by the user's value."""
        nominal = Sourced() if reading is None else Sourced.from_told(reading.axis_deg, f"mdoc {reading.by}")
        return nominal.overruled_by_user(self.tilt_axis_deg)


def each_read(
    wanted: Sequence[Found],
    named: Callable[[Found], str],
    read: Callable[[Found], Imported],
    context: StepContext,
) -> Iterator[Imported | DataUnfitError]:
    """Results for all items, in order; for one that cannot be read, its name and error."""
    for i, one in enumerate(wanted):
        try:
            yield read(one)
        except DataUnfitError as error:
            yield DataUnfitError(error.message, **{**error.facts, "series": named(one)})
        context.progress(i + 1, len(wanted))
