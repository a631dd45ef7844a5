"""One tilt series: every tilt with its values, flags and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from cryoloom.model import TiltSeries
from cryoloom.web.in_thread import InThread
from cryoloom.web.pages.decisions import decision_facts
from cryoloom.web.project_view import ProjectView, SeriesView
from cryoloom.web.site import page, project_of
from cryoloom.web.tilt_flags import REASONS, judged_tilts_of, tilt_facts

__all__ = ["router", "series_facts"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
STACK_TITLES = {
    "stack": "as recorded",
    "weighted": "dose-weighted",
    "corrected": "CTF-corrected",
}


def series_facts(project: ProjectView, view: SeriesView) -> dict[str, Any]:
    """Data of one series for the page's script."""
    names = project.series_names()
    at = names.index(view.name)
    return {
        "name": view.name,
        "previous": names[at - 1] if at > 0 else None,
        "next": names[at + 1] if at + 1 < len(names) else None,
        "position": [at + 1, len(names)],
        "rows": [tilt_facts(tilt) for tilt in judged_tilts_of(view)],
        "reasons": REASONS,
        "images": _images(project, view),
        "paths": {} if view.series is None else _paths(view.series),
        "alignment": {} if view.series is None else _alignment(view.series),
        "history": history_of_series(project, view),
        "failure": view.failure,
        "warnings": [[run.node, text] for run, item in view.steps for text in item.warnings],
        "has_tomogram": bool(view.tomograms),
    }


def _images(project: ProjectView, view: SeriesView) -> list[dict[str, str]]:
    """Stacks that can be shown, the recorded stack first, because tilts are judged by it."""
    return [
        {
            "title": STACK_TITLES[role.split(".")[0]],
            "base": f"/p/{project.slug}/image/{view.series_item}/{role}",
        }
        for role in view.stack_roles()
    ]


def _paths(series: TiltSeries) -> Mapping[int, list[list[float]]]:
    """Position of the specimen in each frame, xy in angstrom from the mean, by acquisition index."""
    found = {}
    for tilt in series.tilts:
        if len(tilt.frame_shifts_yx_angstrom) > 1:
            # A shift moves the frame onto the reference; the specimen moved in the opposite direction.
            path = -np.array(tilt.frame_shifts_yx_angstrom)[:, ::-1]
            found[tilt.acquisition_index] = (path - path.mean(axis=0)).round(2).tolist()
    return found


def _alignment(series: TiltSeries) -> Mapping[int, tuple[float, float, float]]:
    """Axis in degrees and shift in angstrom of tilts with a pose, by section."""
    return {
        tilt.section: (tilt.pose.axis_deg, *tilt.pose.shift_xy_angstrom)
        for tilt in series.tilts
        if tilt.pose is not None and tilt.section is not None
    }


def history_of_series(project: ProjectView, view: SeriesView) -> list[dict[str, Any]]:
    """Findings of steps and decisions of users on its tilts, newest first."""
    decided = [decision_facts(one) for one in project.decisions() if one.item == view.name]
    found = [
        {
            "text": f"left out tilt {tilt.acquisition_index}: {tilt.exclusion.reason}",
            "who": tilt.exclusion.by.name,
            "when": "",
            "is_undone": False,
        }
        for tilt in (view.found.tilts if view.found is not None else ())
        if tilt.exclusion is not None
    ]
    return [*reversed(decided), *found]


@router.get("/series/{name}")
def series_page(request: Request, name: str) -> Response:
    """Page of one series."""
    project = project_of(request)
    view = project.series(name)
    return page(
        request, "series", name="series", project=project, view=view, data=series_facts(project, view)
    )


@router.get("/series/{name}/facts.json")
def series_json(request: Request, name: str) -> dict[str, Any]:
    """The same as data, to show another series on the same page, and after a change."""
    project = project_of(request)
    return series_facts(project, project.series(name))
