"""What a step is: its declaration, its parameters, and how steps are found."""

from cryoloom.contract.discovery import all_steps, find_step
from cryoloom.contract.step import Step, StepContext, StepParams, step

__all__ = ["Step", "StepContext", "StepParams", "all_steps", "find_step", "step"]
