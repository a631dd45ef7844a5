"""Alignment of the series again whose tilt axis is not that of their session."""

from __future__ import annotations

from typing import Any

from cryoloom.contract import find_step
from cryoloom.engine.coordinator.scheduler import Summary
from cryoloom.engine.history.session_axis import can_hold_axis, names_of_steps, session_axis
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError

__all__ = ["align_outlying_again"]


def align_outlying_again(project: Project, run: str | int | None = None, **how: Any) -> Summary | None:
    """Align the outlying series again with the axis fixed at the session's, as a run; None if there are none.

    how : executor and listener, as `Project.run` takes them.
    """
    found, consensus = session_axis(project.database, project.folder, run)
    if not consensus.outlying:
        return None
    hold = find_step(found.step).hold_axis
    if hold is None:
        raise UserInputError(
            f"run {found.id} took its alignment from another program; align its series with "
            f"{names_of_steps(can_hold_axis)} and the tilt axis held at {consensus.axis_deg:.2f} deg"
        )
    summary = project.run(
        found.step, like=found.id, items=consensus.outlying, **hold(consensus.axis_deg), **how
    )
    made = max(run.id for run in project.database.runs() if run.step == found.step)
    project.comment(
        made,
        f"tilt axis held at the session's: {consensus.axis_deg:.2f} +- {consensus.error_deg:.2f} deg, the "
        f"median of {len(consensus.verdicts)} series of run {found.id}",
    )
    return summary
