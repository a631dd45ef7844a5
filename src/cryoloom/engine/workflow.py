"""A workflow: steps, their parameters and who feeds whom, as a small YAML file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cryoloom.engine.validation import validated
from cryoloom.errors import UserInputError
from cryoloom.steps import Step, StepParams, find_step

__all__ = ["Node", "Workflow", "load_workflow", "shipped_workflows", "validated_params"]


class Node(BaseModel):
    """One step of a workflow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    step: str
    input: str | None = None
    """Name of the node that feeds this one, or ``run:N`` for a run the project has; None for a source."""
    items: tuple[str, ...] = ()
    """Work on these items only; empty means all."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    comment: str = ""

    @property
    def input_run_id(self) -> int | None:
        """Id of the existing run this node takes its items from, if it does."""
        found = re.fullmatch(r"run:(\d+)", self.input or "")
        return int(found[1]) if found else None

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_step(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "name" not in data and "step" in data:
            return {**data, "name": data["step"]}
        return data


class Workflow(BaseModel):
    """A tree of steps in an order in which every node follows the one that feeds it.

    A node without an ``input`` is fed by the one above it, if its step needs anything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    steps: tuple[Node, ...]

    @model_validator(mode="before")
    @classmethod
    def _fed_by_the_one_above(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("steps"), Sequence):
            return data
        linked: list[Any] = []
        for entry in data["steps"]:
            node = dict(entry) if isinstance(entry, Mapping) else entry
            if isinstance(node, dict) and linked and "input" not in node and _is_fed(str(node.get("step"))):
                node["input"] = linked[-1].get("name", linked[-1].get("step"))
            linked.append(node)
        return {**data, "steps": linked}

    @model_validator(mode="after")
    def _links_hold(self) -> Self:
        seen: dict[str, Step] = {}
        for node in self.steps:
            step = find_step(node.step)
            if node.name in seen:
                raise UserInputError(f"workflow {self.name} has two steps called {node.name!r}; rename one")
            if node.input_run_id is not None:
                seen[node.name] = step
                validated_params(node)
                continue
            if node.input is not None and node.input not in seen:
                raise UserInputError(
                    f"step {node.name} takes its input from {node.input!r}, "
                    f"which is not above it in {self.name}"
                )
            if (step.needs is None) != (node.input is None):
                raise UserInputError(
                    f"step {node.name} needs {'no input' if step.needs is None else step.needs.__name__}, "
                    f"got {node.input!r}"
                )
            if step.needs and node.input and not issubclass(seen[node.input].gives, step.needs):
                raise UserInputError(
                    f"step {node.name} needs a {step.needs.__name__}, "
                    f"but {node.input} gives a {seen[node.input].gives.__name__}"
                )
            seen[node.name] = step
            validated_params(node)
        return self

    def node(self, name: str) -> Node:
        """Look a node up by name; raises UserInputError that names the nearest ones."""
        names = [node.name for node in self.steps]
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3) or names
            raise UserInputError(
                f"workflow {self.name} has no step {name!r}; did you mean {', '.join(near)}?"
            )
        return self.steps[names.index(name)]

    def followers(self, name: str) -> tuple[Node, ...]:
        """Nodes fed by the one of this name."""
        return tuple(node for node in self.steps if node.input == name)

    def with_parameters(self, changes: Mapping[str, Mapping[str, Any]]) -> Workflow:
        """Copy with other parameters: ``{node: {parameter: value}}``."""
        for name in changes:
            self.node(name)
        nodes = [
            node.model_copy(update={"parameters": {**node.parameters, **changes.get(node.name, {})}})
            for node in self.steps
        ]
        return Workflow(name=self.name, description=self.description, steps=tuple(nodes))

    def to_yaml(self) -> str:
        """The workflow as a file somebody else can run."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100))


def _is_fed(step_name: str) -> bool:
    return find_step(step_name).needs is not None


def validated_params(node: Node) -> StepParams:
    """Parameters of a node, checked; raises UserInputError for the one that is wrong."""
    return validated(find_step(node.step).params, node.parameters, node.name)


def shipped_workflows() -> tuple[str, ...]:
    """Names of the workflows that come with the package."""
    folder = resources.files("cryoloom.workflows")
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_workflow(name_or_path: str | Path) -> Workflow:
    """A shipped workflow by name, or one from a file."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise UserInputError(f"there is no workflow file {path}")
        text = path.read_text()
    elif str(name_or_path) in shipped_workflows():
        text = (resources.files("cryoloom.workflows") / f"{name_or_path}.yaml").read_text()
    else:
        raise UserInputError(
            f"there is no workflow {str(name_or_path)!r}; shipped are {', '.join(shipped_workflows())}; "
            "a file must end in .yaml"
        )
    try:
        return Workflow.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise UserInputError(f"{name_or_path} is not a workflow: {error}") from error
