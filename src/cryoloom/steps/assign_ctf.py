"""Take the CTF from one set, and everything else from another.

Series are matched by name and tilts by acquisition index, as in `assign_poses`. A CTF estimated upstream of
the images is already part of them and needs no assignment.
"""

from __future__ import annotations

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin, with_defocus_of_specimen
from cryoloom.algorithms.series.tilt_matching import corresponding_tilts
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import TiltSeries
from cryoloom.procedures.specimen_origin import with_handedness_followed

__all__ = ["AssignCtfParams", "assign_ctf"]


class AssignCtfParams(StepParams):
    """No parameters."""


FIGURES = (Figure("n_ctf", "tilts", "CTFs assigned", "Tilts that use the CTF of the other set."),)


@step(
    "assign_ctf",
    version=3,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1 << 20,
    also_needs={"ctf_from": TiltSeries},
    methods="CTFs were taken from other images of the same tilts.",
    figures=FIGURES,
)
def assign_ctf(
    series: TiltSeries, params: AssignCtfParams, context: StepContext, *, ctf_from: TiltSeries
) -> TiltSeries:
    """Give the tilts of a series the CTF of the same tilts in another set, and its handedness."""
    if not any(tilt.ctf for tilt in ctf_from.tilts):
        raise DataUnfitError(
            f"ctf_from has no CTF for {series.name}: it was not estimated; connect ctf_from to estimate_ctf"
        )
    # The origins of the sets may differ; the specimen is common to both.
    specimens = with_defocus_of_specimen(ctf_from)
    theirs = corresponding_tilts(series, specimens, "ctf_from")
    changes = {index: {"ctf": theirs[index].ctf} for index in (t.acquisition_index for t in series.tilts)}
    context.figure("n_ctf", sum(change["ctf"] is not None for change in changes.values()))
    assigned = with_handedness_followed(series.with_tilts(changes), ctf_from, context)
    return with_defocus_at_origin(assigned)
