"""One run, the form for a new run, and the jobs started from the browser."""

from __future__ import annotations

import getpass
import json
import re
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cryoloom.contract.discovery import step_sources
from cryoloom.contract.step_facts import step_facts
from cryoloom.engine.history.results import sentence
from cryoloom.errors import UserInputError
from cryoloom.store.decisions import in_force
from cryoloom.store.records import ItemRecord, RunRecord
from cryoloom.web.in_thread import InThread
from cryoloom.web.job import Job, jobs_of, log_part, start_job
from cryoloom.web.project_view import ProjectView
from cryoloom.web.run_request import RunRequest, command_of
from cryoloom.web.site import page, project_of, site_of

__all__ = ["router", "run_facts"]

_SAME_PIXEL_SIZE = 0.01
"""Chosen: pixel sizes that differ by less are those of images that were not binned."""
router = APIRouter(prefix="/p/{project}", route_class=InThread)


def _run(project: ProjectView, run_id: int) -> RunRecord:
    found = next((run for run in project.runs() if run.id == run_id), None)
    if found is None:
        raise UserInputError(f"this project has no run {run_id}")
    return found


def run_facts(project: ProjectView, run: RunRecord) -> dict[str, Any]:
    """Data of a run for its page."""
    items = project.items(run.id)
    names = sorted({name for item in items for name in item.figures})
    runs = project.runs()
    comments = in_force(project.decisions(), kind="comment", item=f"run:{run.id}")
    return {
        "id": run.id,
        "node": run.node,
        "step": run.step,
        "state": run.state,
        "parameters": dict(run.parameters),
        "inputs": {"input": run.input_run_id, **run.links} if run.input_run_id else dict(run.links),
        "comment": str(comments[-1].value) if comments else run.comment,
        "figures": names,
        "meanings": _meanings(run.step),
        "items": [
            {
                "name": item.name,
                "link": _page_of(project, run, item),
                "state": "cached" if item.reused_from is not None and item.state == "done" else item.state,
                "figures": [item.figures.get(name) for name in names],
                "seconds": round(item.seconds, 1),
                "device": item.device,
                "says": sentence(item.error) or item.reason or "; ".join(item.warnings),
            }
            for item in items
        ],
        "provenance": _provenance(run),
        "same": [[one.id, one.node] for one in runs if one.step == run.step and one.id != run.id],
        "followers": [[one.id, one.node] for one in runs if run.id in one.input_run_ids],
        "n_bytes": sum(file.bytes for item in items for file in item.files if not file.is_cleaned),
    }


def _meanings(step: str) -> dict[str, str]:
    """Meanings of a step's figures, as in its report; empty for a step that no longer exists."""
    if step not in step_sources():
        return {}
    return {
        one.name: f"{one.title}: {one.meaning}" + (f" Good: {one.good}." if one.good else "")
        for one in step_facts(step).figures
    }


def _page_of(project: ProjectView, run: RunRecord, item: ItemRecord) -> str:
    """Page that shows a result; "" if there is none."""
    base, name = f"/p/{project.slug}", quote(item.name, safe="")
    kind = project.kind_of(run, item)
    if kind == "Average":
        return f"{base}/average/{item.id}"
    if kind == "Particles":
        return f"{base}/particles?run={run.id}"
    if item.name not in project.history():
        return ""
    return f"{base}/tomo/{name}?run={run.id}" if kind == "Tomogram" else f"{base}/series/{name}"


def _provenance(run: RunRecord) -> list[list[str]]:
    """Time, versions and machine of a run, as titles and texts."""
    lines = [
        ["begun", f"{run.created:%Y-%m-%d %H:%M:%S} UTC"],
        ["version of the step", str(run.step_version)],
    ]
    if run.ended is not None:
        lines.insert(1, ["ended", f"{run.ended:%Y-%m-%d %H:%M:%S} UTC"])
    return lines + [
        [name.replace("_", " "), value if isinstance(value, str) else json.dumps(value)]
        for name, value in run.environment.items()
    ]


def job_facts(job: Job) -> dict[str, Any]:
    """A job as data for the browser."""
    return {
        "number": job.number,
        "title": job.title,
        "command": job.as_typed,
        "state": job.state,
        "started": job.started,
        "ended": job.ended,
    }


@router.get("/run/{run_id}")
def run_page(request: Request, run_id: int) -> Response:
    """Page of one run."""
    project = project_of(request)
    run = _run(project, run_id)
    return page(request, "run", name="graph", project=project, run=run, data=run_facts(project, run))


@router.get("/run/{run_id}/facts.json")
def run_json(request: Request, run_id: int) -> dict[str, Any]:
    """The same as data."""
    project = project_of(request)
    return run_facts(project, _run(project, run_id))


def _fed_by(run: RunRecord, role: str, source: int | None) -> str | None:
    """The run, or its output, of an input role, in the notation of the form."""
    output = run.outputs.get(role, "")
    return None if source is None else f"{source}.{output}" if output else str(source)


@router.get("/new")
def new_page(request: Request) -> Response:
    """Form of a new run."""
    project = project_of(request)
    runs = [
        {
            "id": run.id,
            "node": run.node,
            "step": run.step,
            "parameters": dict(run.parameters),
            "input": _fed_by(run, "input", run.input_run_id),
            "links": {role: _fed_by(run, role, source) for role, source in run.links.items()},
        }
        for run in project.runs()
    ]
    names = list(project.series_names())
    data = {
        "runs": runs,
        "series": names,
        "roots": site_of(request).root_names(),
        "pixels": _pixel_sizes(project, names),
    }
    return page(request, "new_run", name="new", project=project, data=data)


def _pixel_sizes(project: ProjectView, names: list[str]) -> list[tuple[str, float]]:
    """Pixel sizes for lengths in a form: of the first series, as recorded and binned."""
    view = project.series(names[0]) if names else None
    if view is None or view.series is None:
        return []
    found = [("px", view.series.pixel_size_angstrom)]
    stack = view.series.stack
    if stack is not None and abs(stack.pixel_size_angstrom / found[0][1] - 1) > _SAME_PIXEL_SIZE:
        found.append(("binned px", stack.pixel_size_angstrom))
    return found


@router.get("/steps.json")
def steps_json(request: Request) -> dict[str, Any]:
    """All steps with their forms, and the shipped workflows."""
    catalogue = site_of(request).catalogue
    catalogue.start()
    return catalogue.catalogue()


@router.post("/check")
def check_run(request: Request, wanted: RunRequest) -> dict[str, Any]:
    """Check of the values with the step's model, the command, and what the run would do."""
    site, project = site_of(request), project_of(request)
    step = site.catalogue.step(wanted.step)
    checked = site.catalogue.ask({"do": "check", "step": wanted.step, "parameters": wanted.parameters})
    if checked["errors"]:
        return {"errors": checked["errors"]}
    command = command_of(wanted, step, site.roots)
    answer = {
        "errors": {},
        "values": checked["values"],
        "command": Job(0, "", tuple(command), "", "").as_typed,
    }
    if wanted.input is None:
        return answer
    try:
        answer["preview"] = site.catalogue.ask(
            {
                "do": "preview",
                "project": str(project.folder),
                "step": wanted.step,
                "input": wanted.input,
                "links": wanted.links,
                "items": wanted.items,
                "parameters": wanted.parameters,
            }
        )
    except UserInputError as error:
        answer["problem"] = str(error)
    return answer


@router.post("/start")
def start_run(request: Request, wanted: RunRequest) -> dict[str, Any]:
    """Start a run as a separate process."""
    site, project = site_of(request), project_of(request)
    step = site.catalogue.step(wanted.step)
    checked = site.catalogue.ask({"do": "check", "step": wanted.step, "parameters": wanted.parameters})
    if checked["errors"]:
        errors = "; ".join(f"{name}: {text}" for name, text in checked["errors"].items())
        raise UserInputError(f"{wanted.step} cannot run like this: {errors}")
    command = command_of(wanted, step, site.roots)
    job = start_job(project.folder, wanted.step, command, getpass.getuser(), after=wanted.after)
    return job_facts(job)


@router.post("/resume")
def resume(request: Request) -> dict[str, Any]:
    """Continue the last request: results that are outdated by decisions are computed again."""
    project = project_of(request)
    return job_facts(start_job(project.folder, "resume", ["resume", "--project", "."], getpass.getuser()))


@router.post("/stop")
def stop(request: Request) -> dict[str, Any]:
    """Stop the running coordinator; finished results are kept."""
    project = project_of(request)
    return job_facts(start_job(project.folder, "stop", ["stop", "--project", "."], getpass.getuser()))


@router.delete("/run/{run_id}")
def delete_run(request: Request, run_id: int) -> dict[str, Any]:
    """Delete a run and its files; the command refuses if other runs need it."""
    project = project_of(request)
    run = _run(project, run_id)
    if followers := [one.id for one in project.runs() if run.id in one.input_run_ids]:
        raise UserInputError(f"runs {', '.join(map(str, followers))} need run {run_id}; delete them first")
    command = ["delete", str(run_id), "--project", "."]
    return job_facts(start_job(project.folder, f"delete run {run_id}", command, getpass.getuser()))


@router.get("/jobs.json")
def jobs_json(request: Request) -> list[dict[str, Any]]:
    """Jobs started from the browser, newest first."""
    return [job_facts(job) for job in reversed(jobs_of(project_of(request).folder))]


@router.get("/job/{number}/log")
def job_log(request: Request, number: int, offset: int = -20_000) -> dict[str, Any]:
    """A part of a job's log, and the next offset."""
    text, following, size = log_part(project_of(request).folder, number, offset)
    return {"text": re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text), "next": following, "size": size}


@router.get("/folders.json")
def folders_json(request: Request, path: str = "") -> dict[str, Any]:
    """Folders that can be chosen in the browser."""
    return site_of(request).roots.listing(path)
