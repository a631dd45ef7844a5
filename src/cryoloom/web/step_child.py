"""Process with the steps: it reads lines of JSON and answers each with one line.

Importing the steps imports torch, which takes seconds and memory; the server does not import it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cryoloom.contract import Step, all_steps, find_step
from cryoloom.engine.graph.workflow import Workflow, load_workflow, shipped_workflows
from cryoloom.engine.graph.workflow_export import workflow_of_runs
from cryoloom.engine.history.runs import plan_of_one_step
from cryoloom.engine.project import Project
from cryoloom.errors import CryoloomError
from cryoloom.scipion.workflow_import import import_scipion
from cryoloom.store.reading import ProjectReader
from cryoloom.web.graph_layout import laid_out

__all__ = ["answer", "main"]


def main() -> None:
    """Answer requests until the input ends."""
    out = sys.stdout
    sys.stdout = sys.stderr  # output of libraries must not mix with the answers
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line)), default=str) + "\n")
        out.flush()


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer to one request; an expected error is ``{"error": ...}``."""
    try:
        if asked["do"] == "catalogue":
            return {"steps": [_described(step) for step in all_steps().values()], "workflows": _workflows()}
        if asked["do"] == "start":
            return {"n_steps": len(all_steps())}
        if asked["do"] == "check":
            return _check(find_step(asked["step"]), asked["parameters"])
        if asked["do"] == "preview":
            return _preview(asked)
        if asked["do"] == "translate":
            return _translated(asked["text"])
        if asked["do"] == "export_workflow":
            folder = Path(asked["project"])
            with ProjectReader(folder) as reader:
                return {"yaml": workflow_of_runs(reader, folder.absolute().name).to_yaml()}
    except CryoloomError as error:
        return {"error": str(error)}
    return {"error": f"unknown request {asked['do']!r}"}


def _described(step: Step) -> dict[str, Any]:
    schema = step.params.model_json_schema()
    return {
        "name": step.name,
        "summary": step.summary,
        "description": step.description,
        "per": step.per,
        "needs": None if step.needs is None else step.needs.__name__,
        "gives": step.gives.__name__,
        "also_needs": list(step.also_needs),
        "also_gives": {output: kind.__name__ for output, kind in step.also_gives.items()},
        "citations": list(step.references()),
        "schema": schema,
    }


def _workflows() -> list[dict[str, Any]]:
    found = []
    for name in shipped_workflows():
        workflow = load_workflow(name)
        found.append({"name": name, "description": workflow.description, **_picture(workflow)})
    return found


def _picture(workflow: Workflow) -> dict[str, Any]:
    """Nodes with the positions of their cards, and the lines between them."""
    number = {node.name: i for i, node in enumerate(workflow.steps)}
    feeds = {
        i: [number[name] for source in node.feeds.values() if (name := source.partition(".")[0]) in number]
        for i, node in enumerate(workflow.steps)
    }
    places = laid_out(feeds)
    return {
        "nodes": [
            {"name": node.name, "x": places[i].x, "y": places[i].y} for i, node in enumerate(workflow.steps)
        ],
        "edges": [[source, i] for i, sources in feeds.items() for source in sources],
    }


def _translated(text: str) -> dict[str, Any]:
    """A translated workflow of Scipion, with the list of parts that were not translated."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(text)
        file.flush()
        imported = import_scipion(file.name)
    return {
        "yaml": imported.to_yaml(),
        "left": [str(one) for one in imported.left],
        **_picture(imported.workflow),
    }


def _check(step: Step, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Result of the model's check for each field, and the used values."""
    try:
        params = step.params.model_validate(parameters)
    except ValidationError as error:
        errors = {".".join(str(part) for part in one["loc"]) or "": one["msg"] for one in error.errors()}
        return {"errors": errors}
    return {"errors": {}, "values": params.model_dump(mode="json")}


def _preview(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Items that a run would reuse and compute; nothing is done."""
    project = Project.open(Path(asked["project"]))
    try:
        values = {**asked["parameters"], **asked["links"]}
        plan = plan_of_one_step(
            project.database,
            asked["step"],
            input=asked["input"],
            like=None,
            items=asked["items"],
            values=values,
        )
        planned = project.dry_run(plan)[-1]
    finally:
        project.database.close()
    return {
        "n_there": planned.n_there,
        "n_now": planned.n_now,
        "n_later": planned.n_later,
        "n_unfit": planned.n_unfit,
    }


if __name__ == "__main__":
    main()
