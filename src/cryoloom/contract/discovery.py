"""Find the steps: every module of `cryoloom.steps` and below `cryoloom.programs` that declares one."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import pkgutil
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from cryoloom.contract.figures import FigureRole
from cryoloom.contract.syntax_trees import syntax_tree
from cryoloom.errors import UserInputError

if TYPE_CHECKING:
    from cryoloom.contract.step import ByHand, Step

__all__ = [
    "all_steps",
    "figure_meaning",
    "figure_names",
    "find_step",
    "program_steps",
    "read_sources",
    "record_names",
    "step_source",
    "step_sources",
    "step_summaries",
    "steps_taking",
]

_FOLDERS = ("cryoloom.steps", "cryoloom.programs")
"""The second has a folder for each suite of programs."""
_BESIDE = ("cryoloom.procedures", "cryoloom.contract")
"""Figures and records are declared here too."""
_DECLARED = re.compile(
    r'^@step\(\s*"(?P<name>\w+)"(?:.*\n)*?def [^"]*?:\n    """(?P<summary>[^\n]*?)(?:"""|\n)', re.MULTILINE
)
"""The declaration of a step, to the first line of its function's docstring."""
_READING = threading.Lock()


@functools.cache
def all_steps() -> MappingProxyType[str, Step]:
    """Every step by name, in alphabetical order."""
    from cryoloom.contract.step import Step  # loads NumPy, which reading sources does not need

    found: dict[str, Step] = {}
    for name in _FOLDERS:
        folder = importlib.import_module(name)  # by name: the contract is a layer below the steps
        for module_info in pkgutil.walk_packages(folder.__path__, f"{name}."):
            module = importlib.import_module(module_info.name)
            for value in vars(module).values():
                declared = getattr(value, "declaration", None)
                if isinstance(declared, Step) and declared.function.__module__ == module.__name__:
                    found[declared.name] = declared
    return MappingProxyType(dict(sorted(found.items())))


@functools.cache
def step_summaries() -> MappingProxyType[str, str]:
    """First sentence of every step's docstring by name; no step is imported, and no source is parsed."""
    found = {
        match["name"]: match["summary"].strip()
        for path in _source_files(_FOLDERS)
        for match in _DECLARED.finditer(path.read_text(encoding="utf-8"))
    }
    return MappingProxyType(dict(sorted(found.items())))


@functools.cache
def program_steps() -> frozenset[str]:
    """Names of the steps that run outside programs: those of the package of programs."""
    return frozenset(
        match["name"]
        for path in _source_files(_FOLDERS[1:])
        for match in _DECLARED.finditer(path.read_text(encoding="utf-8"))
    )


def step_sources() -> MappingProxyType[str, Path]:
    """File of every step by name; no step is imported."""
    return MappingProxyType({name: path for name, (_, path) in _declarations().items()})


def step_source(name: str) -> Path | None:
    """File that a step is in: the one of its name, without reading the others; None if there is none."""
    folders = [Path(folder) for one in _FOLDERS for folder in importlib.import_module(one).__path__]
    return next((path for folder in folders for path in folder.rglob(f"{name}.py")), None)


def steps_taking(kind: ByHand) -> tuple[str, ...]:
    """Names of the steps that take this by hand (`Step.takes_by_hand`), read from the source."""
    return tuple(name for name, (node, _) in _declarations().items() if kind in _by_hand(node))


@dataclass(frozen=True)
class _InSource:
    """Declarations in the source."""

    steps: dict[str, tuple[ast.FunctionDef, Path]] = field(default_factory=dict)
    """Functions that are declared as steps with their files, by name."""
    figures: dict[str, list[str]] = field(default_factory=dict)
    """Names by role."""
    meanings: dict[str, str] = field(default_factory=dict)
    """Meanings by role, from the first declaration: steps come before programs."""
    records: dict[str, list[str]] = field(default_factory=dict)
    """Names by drawing."""


def read_sources() -> None:
    """Read what the source declares, if that was not done yet: it takes up to a second."""
    with _READING:
        _in_source()


def _declared_in_source() -> _InSource:
    with _READING:  # threads that call at the same time wait for the first one
        return _in_source()


@functools.cache
def _in_source() -> _InSource:
    found = _InSource()
    for path, module in _parsed_modules(_FOLDERS):
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and (name := _declared_name(node)):
                found.steps[name] = (node, path)
        _note_declared(module, found)
    for _, module in _parsed_modules(_BESIDE):
        _note_declared(module, found)
    return found


def _declarations() -> dict[str, tuple[ast.FunctionDef, Path]]:
    """Functions that are declared as steps with their files, by name, in alphabetical order."""
    return dict(sorted(_declared_in_source().steps.items()))


def _parsed_modules(packages: tuple[str, ...]) -> Iterator[tuple[Path, ast.Module]]:
    """Every module below some packages with its syntax tree; none is imported."""
    for path in _source_files(packages):
        yield path, syntax_tree(path)


def _source_files(packages: tuple[str, ...]) -> Iterator[Path]:
    """Every module below some packages; none is imported."""
    for name in packages:
        for folder in importlib.import_module(name).__path__:
            yield from sorted(Path(folder).rglob("*.py"))


def _by_hand(function: ast.FunctionDef) -> tuple[str, ...]:
    """Value of ``takes_by_hand`` in the declaration of a step."""
    return tuple(
        str(element.value)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        for word in decorator.keywords
        if word.arg == "takes_by_hand" and isinstance(word.value, ast.Tuple)
        for element in word.value.elts
        if isinstance(element, ast.Constant)
    )


def _declared_name(function: ast.FunctionDef) -> str | None:
    """Name under which a function is declared a step, or None."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "step" and decorator.args:
            first = decorator.args[0]
            return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    return None


def figure_names(role: FigureRole) -> frozenset[str]:
    """Names of the figures declared with a role, read from the source without importing a step."""
    return frozenset(_declared_in_source().figures.get(role, ()))


def figure_meaning(role: FigureRole) -> str:
    """Meaning of the figure with a role, as a step declares it; read from the source."""
    return _declared_in_source().meanings[role]


def record_names(shows: str) -> frozenset[str]:
    """Names of the records declared with a drawing, read from the source without importing a step."""
    return frozenset(_declared_in_source().records.get(shows, ()))


def _note_declared(module: ast.Module, found: _InSource) -> None:
    """Add the figures and records that a module declares."""
    for node in ast.walk(module):
        kind = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and kind in {"Figure", "Record"}:
            names, keyword = (found.figures, "role") if kind == "Figure" else (found.records, "shows")
            value, name = _value_and_name(node, keyword)
            names.setdefault(value, []).append(name)
            if kind == "Figure" and value:
                found.meanings.setdefault(value, _text(node, 3, "meaning"))


def _value_and_name(call: ast.Call, keyword: str) -> tuple[str, str]:
    """Value of what a call declares; "" if it is omitted or not a literal."""
    given = {word.arg: word.value for word in call.keywords}
    value, name = given.get(keyword), call.args[0] if call.args else given.get("name")
    words = [str(one.value) if isinstance(one, ast.Constant) else "" for one in (value, name)]
    return words[0], words[1]


def _text(call: ast.Call, place: int, keyword: str) -> str:
    """A text among the arguments of a call; "" if it is not written out there."""
    given = {word.arg: word.value for word in call.keywords}
    node = call.args[place] if len(call.args) > place else given.get(keyword)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def find_step(name: str) -> Step:
    """Look a step up by name; raises UserInputError that names the nearest ones."""
    steps = all_steps()
    if name not in steps:
        near = difflib.get_close_matches(name, steps, n=3) or list(steps)
        raise UserInputError(f"there is no step {name!r}; did you mean {', '.join(near)}?")
    return steps[name]
