"""Import of a Scipion workflow, with a list of the parts that were not translated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cryoloom.contract import find_step
from cryoloom.contract.step import StepParams
from cryoloom.engine.graph.workflow import Node, Workflow
from cryoloom.errors import UserInputError
from cryoloom.scipion.step_kinds import needed_kind, output_of
from cryoloom.scipion.template import read_scipion_workflow
from cryoloom.scipion.translation import NotTranslated, TranslatedStep, Translation, translate_scipion

__all__ = ["ImportedWorkflow", "import_scipion"]


_REFERENCE = "reference_from"
"""Role of the first map of a refinement."""
_CUTTING = {"extract_particles", "assign_series"}
"""Steps that extract particles and do not move them."""


@dataclass(frozen=True, slots=True)
class ImportedWorkflow:
    """A workflow, and the parts of the original that it does not contain."""

    workflow: Workflow
    translation: Translation
    left: tuple[NotTranslated, ...]

    def to_yaml(self) -> str:
        """Text of the workflow file; parts that were not translated are listed at the top as comments."""
        head = [
            f"# Imported from Scipion. Not translated: {len(self.left)}",
            *(f"# - {one}" for one in self.left),
        ]
        return "\n".join([*(" ".join(line.split()) for line in head), self.workflow.to_yaml()])


def import_scipion(path: str | Path) -> ImportedWorkflow:
    """Read and translate a Scipion workflow or template; raises UserInputError if no step results.

    Parameters of existing steps are checked; a parameter that the step does not have or allow is listed.
    Parameters of steps that do not exist yet are kept unchanged.
    """
    path = Path(path)
    translation = translate_scipion(read_scipion_workflow(path))
    left = list(translation.left)
    steps = {step.name: step for step in translation.steps}
    nodes = tuple(_node(step, steps, left) for step in translation.steps)
    if not nodes:
        raise UserInputError(
            f"{path} translates to no step: "
            f"{'; '.join(str(one) for one in left[:4]) or 'it has no protocols'}"
        )
    name = re.sub(r"\W+", "_", path.name.split(".")[0]).strip("_") or "imported"
    workflow = Workflow(name=name, description=translation.description, steps=nodes)
    return ImportedWorkflow(workflow, translation, tuple(left))


def _node(step: TranslatedStep, steps: Mapping[str, TranslatedStep], left: list[NotTranslated]) -> Node:
    parameters = dict(step.parameters)
    links = {
        role: source + output_of(steps[source].step, needed_kind(step.step, role))
        for role, source in step.feeds.items()
    }
    if _same_folder(parameters.get("frames_directory"), parameters.get("directory")):
        del parameters["frames_directory"]  # movies beside their mdocs, even if the raw data are elsewhere
    parameters = _allowed(replace(step, parameters=parameters), left)
    wanted = set(find_step(step.step).also_needs)
    reference = step.feeds.get(_REFERENCE)
    if reference is not None and _REFERENCE not in wanted:
        # For an initial model made from the same picks: its particles have it as their reference.
        given = output_of(steps[reference].step, needed_kind(step.step, "input"))
        if given and _picks_of(reference, steps) == _picks_of(step.name, steps):
            links["input"] = reference + given
            del links[_REFERENCE]
    for role in [role for role in links if role != "input" and role not in wanted]:
        left.append(NotTranslated(step.comment, role, links.pop(role), f"{step.step} has no such input"))
    return Node(
        name=step.name,
        step=step.step,
        input=links.pop("input", None),
        links=links,
        parameters=parameters,
        comment=step.comment,
    )


def _same_folder(one: Any, other: Any) -> bool:
    return one is not None and other is not None and Path(str(one)) == Path(str(other))


def _picks_of(name: str, steps: Mapping[str, TranslatedStep]) -> str:
    """Step that made a step's particles, before extraction."""
    source = steps[name].feeds["input"]
    while steps[source].step in _CUTTING and "input" in steps[source].feeds:
        source = steps[source].feeds["input"]
    return source


def _allowed(step: TranslatedStep, left: list[NotTranslated]) -> dict[str, Any]:
    """Parameters that a step accepts; the others are listed with the error."""
    model = find_step(step.step).params
    parameters = {name: value for name, value in step.parameters.items() if name in model.model_fields}
    for name in step.parameters:
        if name not in parameters:
            why = f"the step {step.step} has no parameter {name}"
            left.append(NotTranslated(step.comment, name, step.parameters[name], why))
    try:
        model.model_validate(parameters)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = str(problem["loc"][0]) if problem["loc"] else _at_odds(model, parameters)
            if name in parameters:
                why = f"{step.step} does not allow it: {problem['msg']}"
                left.append(NotTranslated(step.comment, name, parameters.pop(name), why))
    return parameters


def _at_odds(model: type[StepParams], parameters: Mapping[str, Any]) -> str:
    """Parameter without which the other parameters are valid; "" if there is none."""
    for name in reversed(list(parameters)):
        try:
            model.model_validate({other: value for other, value in parameters.items() if other != name})
        except ValidationError:
            continue
        return name
    return ""
