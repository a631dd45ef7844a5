"""Steps the design names and nobody has written yet, so that workflows can already say where they belong.

Once a step of such a name exists, its entry here counts no more and is to be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryoloom.contract import discovery

__all__ = ["PlannedStep", "planned_step"]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What a step will take and give, by the names of the model's types, and what it will do."""

    name: str
    needs: str | None
    gives: str
    summary: str

    @property
    def can_be_skipped(self) -> bool:
        """Whether what follows can work on what this step would have got."""
        return self.needs == self.gives


_SERIES, _TOMOGRAM, _PARTICLES, _AVERAGE = "TiltSeries", "Tomogram", "Particles", "Average"

_PLANNED = (
    PlannedStep("import_tomograms", None, _TOMOGRAM, "Take over tomograms made by another program."),
    PlannedStep("classify", _PARTICLES, _PARTICLES, "Sort particles by what they look like."),
    PlannedStep("extract_particles", _PARTICLES, _PARTICLES, "Cut particles out of the tilt images."),
    PlannedStep("initial_model", _PARTICLES, _AVERAGE, "Make a first average without a reference."),
)


def planned_step(name: str) -> PlannedStep | None:
    """The plan of a step that does not exist yet, or None."""
    if name in discovery.all_steps():
        return None
    return next((planned for planned in _PLANNED if planned.name == name), None)
