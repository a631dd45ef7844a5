"""A workflow: steps, their parameters and links, as a small YAML file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cryoloom.contract import StepParams, find_step
from cryoloom.contract.step import kind_of
from cryoloom.engine.graph.validation import validated
from cryoloom.errors import UserInputError

__all__ = [
    "INPUT",
    "Link",
    "Node",
    "ProgramWork",
    "Workflow",
    "link_of",
    "load_workflow",
    "run_id_of",
    "shipped_descriptions",
    "shipped_workflows",
    "validated_params",
]

INPUT = "input"
_LINK_SUFFIX = "_from"


class ProgramWork(BaseModel):
    """A step of a chain that does a node's work with outside programs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class Node(BaseModel):
    """One step of a workflow. A key that ends in ``_from`` names the node (or run) of a further input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    step: str
    input: str | None = None
    """Name of the node that feeds this one, or ``run:N`` for a run of the project; None for a source. A
    further output of a step is written ``node.output`` or ``run:N.output``."""
    links: dict[str, str] = Field(default_factory=dict)
    """Further inputs by role, written alike."""
    items: tuple[str, ...] = ()
    """Work on these items only; empty means all."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    comment: str = ""
    programs: tuple[ProgramWork, ...] = ()
    """Steps that do the same with outside programs, one after the other (`graph.with_programs`)."""
    within: str = ""
    """A node whose programs do this node's work as well."""

    @property
    def feeds(self) -> dict[str, str]:
        """Where every input comes from, by role; the first is "input"."""
        return ({} if self.input is None else {INPUT: self.input}) | self.links

    @property
    def input_run_id(self) -> int | None:
        """Id of the existing run this node takes its items from, if it does."""
        return run_id_of(self.input)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, data: Any) -> Any:
        """A node without a name is named after its step; its further inputs are keys next to its input."""
        if not isinstance(data, Mapping):
            return data
        plain = {key: value for key, value in data.items() if not str(key).endswith(_LINK_SUFFIX)}
        links = {key: value for key, value in data.items() if key not in plain}
        if links:
            plain["links"] = {**plain.get("links", {}), **links}
        if "name" not in plain and "step" in plain:
            plain["name"] = plain["step"]
        return plain


@dataclass(frozen=True, slots=True)
class Link:
    """Source of an input: a node of the workflow or a run of the project, and which output of it."""

    node: str
    """"" for a run."""
    run_id: int | None
    output: str
    """"" for the main one."""


def link_of(source: str) -> Link:
    """Parse ``node``, ``node.output``, ``run:N`` or ``run:N.output``."""
    name, _, output = source.partition(".")
    found = re.fullmatch(r"run:(\d+)", name)
    return Link("", int(found[1]), output) if found else Link(name, None, output)


def run_id_of(source: str | None) -> int | None:
    """Id of an existing run, where a source is one."""
    return None if source is None else link_of(source).run_id


class Workflow(BaseModel):
    """Steps in an order in which every node follows those that feed it.

    A node without an ``input`` is fed by the one above it, if its step needs anything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    steps: tuple[Node, ...]
    notes: tuple[str, ...] = Field((), exclude=True)
    """What a translation left out, one sentence each."""

    @model_validator(mode="before")
    @classmethod
    def _fed_by_the_one_above(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("steps"), Sequence):
            return data
        linked: list[Any] = []
        for entry in data["steps"]:
            node = dict(entry) if isinstance(entry, Mapping) else entry
            if isinstance(node, dict) and linked and "input" not in node and _needs(str(node.get("step"))):
                above = linked[-1]
                is_mapping = isinstance(above, Mapping)
                node["input"] = above.get("name", above.get("step")) if is_mapping else above.name
            linked.append(node)
        return {**data, "steps": _as_asked(linked)}

    @model_validator(mode="after")
    def _links_hold(self) -> Self:
        given: dict[str, dict[str, str]] = {}
        for node in self.steps:
            if node.name in given:
                raise UserInputError(f"workflow {self.name} has two steps called {node.name!r}; rename one")
            if (_needs(node.step) is None) != (node.input is None):
                raise UserInputError(
                    f"step {node.name} needs {_needs(node.step) or 'no input'}, got {node.input!r}"
                )
            wanted = _further_needs(node)
            if set(wanted) != set(node.links):
                raise UserInputError(
                    f"step {node.name} needs {', '.join(wanted) or 'no further inputs'}, "
                    f"got {', '.join(node.links) or 'none'}"
                )
            for role, source in node.feeds.items():
                link = link_of(source)
                if link.run_id is not None:
                    continue
                if link.node not in given:
                    raise UserInputError(
                        f"step {node.name} takes its {role} from {source!r}, "
                        f"which is not above it in {self.name}"
                    )
                outputs = given[link.node]
                if link.output not in outputs:
                    raise UserInputError(
                        f"step {node.name} takes its {role} from {source!r}, but {link.node} has "
                        f"{', '.join(filter(None, outputs)) or 'no further outputs'}"
                    )
                needed = _needs(node.step) if role == INPUT else wanted.get(role, _ANYTHING)
                kind = outputs[link.output]
                if needed not in (kind, _ANYTHING) and kind != _ANYTHING:
                    raise UserInputError(f"step {node.name} needs a {needed}, but {source} gives a {kind}")
            given[node.name] = find_step(node.step).given_kinds
            if given[node.name][""] == _ANYTHING and node.input is not None:
                fed_by = link_of(node.input)
                given[node.name][""] = given.get(fed_by.node, {}).get(fed_by.output, _ANYTHING)
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

    def followers(self, name: str) -> tuple[tuple[Node, str], ...]:
        """Nodes fed by the one of this name, with whatever output, each with the role it feeds."""
        return tuple(
            (node, role)
            for node in self.steps
            for role, source in node.feeds.items()
            if link_of(source).node == name
        )

    def with_parameters(self, changes: Mapping[str, Mapping[str, Any]]) -> Workflow:
        """Copy with other parameters: ``{node: {parameter: value}}``."""
        for name in changes:
            self.node(name)
        nodes = [
            node.model_copy(update={"parameters": {**node.parameters, **changes.get(node.name, {})}})
            for node in self.steps
        ]
        return Workflow(name=self.name, description=self.description, steps=tuple(nodes), notes=self.notes)

    def to_yaml(self) -> str:
        """The workflow as a file somebody else can run."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        data["steps"] = [_as_written(node) for node in data["steps"]]
        return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100))


def _as_asked(entries: list[Any]) -> list[Any]:
    """Nodes with the parameters that steps after them ask for (`Step.asks`), where they have no other."""
    steps = [entry.get("step") if isinstance(entry, Mapping) else entry.step for entry in entries]
    if not any(find_step(str(step)).asks for step in steps):
        return entries
    by_name = {node.name: node for node in map(Node.model_validate, entries)}
    for name in list(by_name)[::-1]:
        node = by_name[name]
        for parameter, value in find_step(node.step).asks.items():
            above = by_name.get(link_of(node.input or "").node)
            while above is not None and not _knows(above, parameter):
                above = by_name.get(link_of(above.input or "").node)
            if above is not None and parameter not in above.parameters:
                parameters = {**above.parameters, parameter: value}
                by_name[above.name] = above.model_copy(update={"parameters": parameters})
    return list(by_name.values()) if len(by_name) == len(entries) else entries


def _knows(node: Node, parameter: str) -> bool:
    """Whether a node's step has a parameter."""
    return parameter in find_step(node.step).params.model_fields


def _as_written(node: dict[str, Any]) -> dict[str, Any]:
    """A node's data as written by hand: no name if it equals its step's, links next to the input."""
    named = {"name": node["name"]} if node["name"] != node["step"] else {}
    fed = {"input": node["input"]} if "input" in node else {}
    first = {"step": node["step"], **named, **fed, **node.get("links", {})}
    rest = {key: value for key, value in node.items() if key not in {"name", "step", "input", "links"}}
    return first | rest


_ANYTHING = "object"


def _needs(step_name: str) -> str | None:
    """Name of the type a step works on; None for a source."""
    needs = find_step(step_name).needs
    return None if needs is None else needs.__name__


def _further_needs(node: Node) -> dict[str, str]:
    """Roles and types of a step's further inputs."""
    return {role: kind_of(wanted).__name__ for role, wanted in find_step(node.step).also_needs.items()}


def validated_params(node: Node) -> StepParams:
    """Parameters of a node, checked; raises UserInputError for the one that is wrong."""
    return validated(find_step(node.step).params, node.parameters, node.name)


def shipped_workflows() -> tuple[str, ...]:
    """Names of the workflows that come with the package."""
    folder = resources.files("cryoloom.workflows")
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def shipped_descriptions() -> dict[str, str]:
    """Purpose of the shipped workflows, by name; their steps are not imported."""
    folder = resources.files("cryoloom.workflows")
    return {
        name: yaml.safe_load((folder / f"{name}.yaml").read_text())["description"]
        for name in shipped_workflows()
    }


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
