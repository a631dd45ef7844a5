"""Steps that are planned and do not exist yet, so that workflows can already name them.

Delete an entry once its step exists; until then the step takes precedence.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLANNED", "PlannedStep"]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """Inputs and outputs of a planned step, as names of the model's types, and what it will do."""

    name: str
    needs: str | None
    gives: str
    summary: str

    @property
    def can_be_skipped(self) -> bool:
        """Whether the following steps can work on the input of this step instead."""
        return self.needs == self.gives


_TOMOGRAM = "Tomogram"

PLANNED = (PlannedStep("import_tomograms", None, _TOMOGRAM, "Import tomograms made by another program."),)
