"""Alignment: tracks with residuals, worst first; manual correction of beads, solved again in the page."""

from __future__ import annotations

import getpass
from typing import Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.store.decisions import in_force
from cryoloom.web.drawn.edited_tracks import (
    EditedTracks,
    Solved,
    bead_centre,
    edited_tracks,
    solve,
    write_tracks,
)
from cryoloom.web.in_thread import InThread
from cryoloom.web.job import start_job
from cryoloom.web.pages.runs import job_facts
from cryoloom.web.project_view import ProjectView, SeriesView, figure_of
from cryoloom.web.site import page, project_of

__all__ = ["alignment_facts", "router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
_LEAST_WEIGHT = 0.02
"""As in `procedures.alignment_records`, which is not imported because it loads torch."""
_USUAL_BEAD_ANGSTROM = 100.0
"""Gold of 10 nm, if the alignment had no beads."""


def _edited(project: ProjectView, view: SeriesView) -> EditedTracks:
    if view.series is None:
        raise DataUnfitError(f"{view.name} was not imported")
    decided = in_force(project.decisions(), kind="track", item=view.name)
    return edited_tracks(view.series, view.record("residuals"), decided)


def alignment_facts(
    project: ProjectView, view: SeriesView, *, rotation_per_tilt: bool = False, again: bool = False
) -> dict[str, Any]:
    """Tracks, residuals and predictions for the existing poses, or solved ``again``."""
    ranking = ranked_series(project)
    names = [one["series"] for one in ranking]
    at = names.index(view.name) if view.name in names else -1
    facts: dict[str, Any] = {
        "name": view.name,
        "ranking": ranking,
        "previous": names[at - 1] if at > 0 else None,
        "next": names[at + 1] if 0 <= at < len(names) - 1 else None,
        "failure": view.failure,
        "problem": None,
        "observations": [],
        "tilts": [],
        "images": None,
        "bead_angstrom": view.figure("bead_diameter") or _USUAL_BEAD_ANGSTROM,
    }
    if view.series_item is not None and view.stack_roles():
        facts["images"] = f"/p/{project.slug}/image/{view.series_item}/{view.stack_roles()[0]}"
    try:
        edited = _edited(project, view)
        solved = solve(edited, rotation_per_tilt=rotation_per_tilt, again=again)
    except DataUnfitError as error:
        facts["problem"] = str(error)
        return facts
    return facts | _solved_facts(edited, solved)


def _solved_facts(edited: EditedTracks, solved: Solved) -> dict[str, Any]:
    residual, weight = solved.solution.residual_xy_angstrom, solved.solution.robust_weight
    geometry = solved.solution.geometry
    return {
        "tilts": [
            {
                "acquisition_index": tilt.acquisition_index,
                "section": tilt.section,
                "tilt_deg": round(float(geometry.tilt_deg[i]), 2),
                "axis_deg": round(float(geometry.axis_deg[i]), 3),
                "shift": [round(float(v), 1) for v in geometry.shift_xy_angstrom[i]],
                "residual_angstrom": _rounded_mean(np.hypot(*residual[edited.tilt == i].T)),
            }
            for i, tilt in enumerate(edited.tilts)
        ],
        "tracks": [int(track) for track in np.unique(edited.track)],
        # track, index in tilts, x, y, residual x, y, left-out error, counts, manual
        "observations": [
            [
                int(track),
                int(tilt),
                *(round(float(v), 1) for v in position),
                *(_number(v) for v in missed),
                _number(left_out),
                bool(w > _LEAST_WEIGHT),
                bool(hand),
            ]
            for track, tilt, position, missed, left_out, w, hand in zip(
                edited.track,
                edited.tilt,
                edited.position_xy_angstrom,
                residual,
                solved.left_out_angstrom,
                weight,
                edited.by_hand,
                strict=True,
            )
        ],
        "predicted": {
            int(track): [
                [round(float(v), 1) for v in place] if np.isfinite(place).all() else None
                for place in solved.predicted_xy_angstrom[track]
            ]
            for track in np.unique(edited.track)
        },
        "summary": solved.summary(edited.as_tracks()),
        "n_by_hand": int(edited.by_hand.sum()),
    }


def _rounded_mean(values: Any) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 2) if len(known) else None


def _number(value: float) -> float | None:
    """A number with two digits; None for a point seen only once, which fits any pose."""
    return round(float(value), 2) if np.isfinite(value) else None


def ranked_series(project: ProjectView) -> list[dict[str, Any]]:
    """Aligned series, largest left-out error first."""
    found = []
    for name, made in project.history().items():
        items = [item for _, item in made]
        residual = figure_of(items, "alignment_residual")
        if residual is not None:
            error = figure_of(items, "alignment_error")
            found.append(
                {
                    "series": name,
                    "left_out_angstrom": round(residual if error is None else error, 2),
                    "residual_angstrom": round(residual, 2),
                    "axis_deg": figure_of(items, "tilt_axis"),
                }
            )
    return sorted(found, key=lambda one: -one["left_out_angstrom"])


@router.get("/align")
def first_alignment(request: Request) -> Response:
    """Page of the series with the largest error, or instructions if there is none."""
    project = project_of(request)
    ranking = ranked_series(project)
    if ranking:
        return RedirectResponse(f"/p/{project.slug}/align/{quote(ranking[0]['series'], safe='')}", 303)
    return page(
        request,
        "empty",
        name="align",
        project=project,
        title="No series is aligned yet",
        text="Run `align_series` on series with images.",
        link=f"/p/{project.slug}/new?step=align_series",
        link_text="Align series",
    )


@router.get("/align/{name}")
def alignment_page(request: Request, name: str) -> Response:
    """The page of one series."""
    project = project_of(request)
    view = project.series(name)
    return page(
        request, "alignment", name="align", project=project, view=view, data=alignment_facts(project, view)
    )


@router.get("/align/{name}/facts.json")
def alignment_json(
    request: Request, name: str, again: bool = False, rotation_per_tilt: bool = False
) -> dict[str, Any]:
    """The same as data; ``again`` solves with the corrected tracks and stores nothing."""
    project = project_of(request)
    view = project.series(name)
    return alignment_facts(project, view, rotation_per_tilt=rotation_per_tilt, again=again)


@router.get("/align/{name}/centre")
def centre_of_bead(
    request: Request, name: str, acquisition_index: int, x: float, y: float
) -> dict[str, float]:
    """Centre of the bead near a position, xy in angstrom from the image centre."""
    project = project_of(request)
    view = project.series(name)
    if view.series is None or view.series_item is None or not view.stack_roles():
        raise UserInputError(f"{name} has no images")
    image = project.image(view.series_item, view.stack_roles()[0])
    tilt = next((t for t in view.series.tilts if t.acquisition_index == acquisition_index), None)
    if tilt is None or tilt.section is None:
        raise UserInputError(f"{name} has no image of acquisition index {acquisition_index}")
    _, n_y, n_x = image.shape
    size = image.pixel_size_angstrom
    # The origin of positions is the middle of pixel n // 2.
    at = (x / size + n_x // 2 + 0.5, y / size + n_y // 2 + 0.5)
    diameter = (view.figure("bead_diameter") or _USUAL_BEAD_ANGSTROM) / size
    found = bead_centre(image.pixels[tilt.section], *at, diameter)
    return {
        "x_angstrom": round((found[0] - n_x // 2 - 0.5) * size, 2),
        "y_angstrom": round((found[1] - n_y // 2 - 0.5) * size, 2),
    }


class AcceptRequest(BaseModel):
    """Repeat the alignment with the corrected tracks."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    axis: str = Field("fixed", pattern="^(one|fixed|per_view|grouped)$")


@router.post("/align/{name}/accept")
def accept(request: Request, name: str, wanted: AcceptRequest) -> dict[str, Any]:
    """Write the tracks into the project and run align_series on this series with them."""
    project = project_of(request)
    view = project.series(name)
    edited = _edited(project, view)
    made = view.maker_of("residuals")
    if view.series is None or made is None or made.input_run_id is None:
        raise UserInputError(f"{name} has no alignment whose tracks could be used")
    series = project.with_open_pixels(view.series)
    folder = project.folder / "tracks"
    write_tracks(series, edited, folder)
    command = ["run", made.step, "--project", ".", "--input", str(made.input_run_id), f"--item={name}"]
    command += ["--set", f"fiducials={folder}"]
    if wanted.axis == "per_view":
        command += ["--set", "axis=per_view"]
    return job_facts(start_job(project.folder, f"{made.step} of {name}", command, getpass.getuser()))
