"""What a user can run: one file a step. Files are found by looking into this folder; there is no list."""

from cryoloom.steps.declaration import Step, StepContext, StepParams, step
from cryoloom.steps.discovery import all_steps, find_step

__all__ = ["Step", "StepContext", "StepParams", "all_steps", "find_step", "step"]
