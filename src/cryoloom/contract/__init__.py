"""The contract of a step: declaration, parameters, figures, records, and discovery."""

from cryoloom.contract.discovery import all_steps, find_step
from cryoloom.contract.figures import Bounds, Column, Figure, Record
from cryoloom.contract.step import Gathered, Outputs, Shared, Step, StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime

__all__ = [
    "Bounds",
    "Column",
    "Figure",
    "Gathered",
    "Outputs",
    "Record",
    "Shared",
    "Step",
    "StepContext",
    "StepParams",
    "UsualTime",
    "all_steps",
    "find_step",
    "step",
]
