"""The contrast transfer function of one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cryoloom.model.added_later import ADDED_LATER
from cryoloom.model.limits import require

__all__ = ["Ctf", "DefocusReference"]

DefocusReference = Literal["origin", "specimen"]


@dataclass(frozen=True, slots=True)
class Ctf:
    """Defocus in angstrom, underfocus positive, of the point in `refers_to`; ``u`` is the larger one.

    ``astigmatism_angle_deg`` runs from the image's +x, counter-clockwise, to the direction of ``u``.
    """

    defocus_u_angstrom: float
    defocus_v_angstrom: float
    astigmatism_angle_deg: float
    phase_shift_deg: float = 0.0
    fit_resolution_angstrom: float | None = None
    score: float | None = None
    """Correlation of the background-corrected spectrum with the model, -1 to 1."""
    predicted: bool = False
    """True if the image has no visible rings and the series' model was used."""
    defocus_sd_angstrom: float | None = None
    """Standard deviation of the mean defocus, if the estimate has one."""
    refers_to: DefocusReference = "origin"
    """Point with this defocus. "origin": the origin of the tilt's pose, which is the middle of the tomogram.
    "specimen": the middle of the specimen at the image's centre, which is what an image shows;
    `specimen_frame.with_defocus_at_origin` converts it once poses are known."""
    amplitude: float = field(default=1.0, metadata=ADDED_LATER)
    """Amplitude of the signal over the expected one, measured with particles (`refine_series`)."""
    b_factor_angstrom2: float = field(default=0.0, metadata=ADDED_LATER)
    """Fall of the signal as ``exp(-B k^2 / 4)``, in addition to radiation damage."""

    def __post_init__(self) -> None:
        """Refuse values that no lens can have (`limits`)."""
        require("defocus", self.defocus_u_angstrom)
        require("defocus", self.defocus_v_angstrom)
        require("astigmatism angle", self.astigmatism_angle_deg)
        require("phase shift", self.phase_shift_deg)

    @property
    def defocus_angstrom(self) -> float:
        """Mean defocus."""
        return 0.5 * (self.defocus_u_angstrom + self.defocus_v_angstrom)

    @property
    def astigmatism_angstrom(self) -> float:
        """Difference of the two principal defoci."""
        return self.defocus_u_angstrom - self.defocus_v_angstrom
