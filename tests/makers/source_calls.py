"""Names in calls of ``context.figure`` and the like that are reached from the function of a step."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryoloom.contract import Step

FIGURE_CALLS = ("figure", "not_measurable")
RECORD_CALLS = ("record",)


@dataclass(frozen=True)
class Made:
    """Names of figures and records, and calls whose name is not written as a literal."""

    figures: frozenset[str]
    records: frozenset[str]
    unclear: tuple[str, ...]


@dataclass(frozen=True)
class _Module:
    path: Path
    definitions: dict[str, ast.AST]
    """Functions, classes and assigned values of the module by name."""
    imported: dict[str, tuple[str, str]]
    """Local name of something imported from cryoloom: its module and its name there."""


def made_by(step: Step) -> Made:
    """Everything the functions reachable from the step's function (and what it processes ahead) report."""
    figures: set[str] = set()
    records: set[str] = set()
    unclear: list[str] = []
    for path, call in _reached_calls(step):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method not in FIGURE_CALLS + RECORD_CALLS or not call.args or not _is_context(call.func):
            continue
        name = call.args[0]
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            unclear.append(f"{path.name}:{call.lineno}")
        elif method in FIGURE_CALLS:
            figures.add(name.value)
        else:
            records.add(name.value)
    return Made(frozenset(figures), frozenset(records), tuple(unclear))


def _is_context(function: ast.expr) -> bool:
    """Whether a method is one of a context: the object is called so everywhere in the steps."""
    holder = function.value if isinstance(function, ast.Attribute) else None
    return (isinstance(holder, ast.Name) and holder.id == "context") or (
        isinstance(holder, ast.Attribute) and holder.attr == "context"
    )


def _reached_calls(step: Step) -> Iterator[tuple[Path, ast.Call]]:
    start = [step.function] + ([step.ahead] if step.ahead is not None else [])
    waiting = [(function.__module__, function.__name__) for function in start]
    seen = set(waiting)
    while waiting:
        module_name, name = waiting.pop()
        module = _module(module_name)
        if name not in module.definitions:
            if name in module.imported and module.imported[name] not in seen:
                seen.add(module.imported[name])
                waiting.append(module.imported[name])
            continue
        definition = module.definitions[name]
        # The decorator declares; it makes nothing.
        body = definition.body if isinstance(definition, ast.FunctionDef) else [definition]
        for node in (inner for part in body for inner in ast.walk(part)):
            if isinstance(node, ast.Call):
                yield module.path, node
            if isinstance(node, ast.Name):
                found = module.imported.get(node.id, (module_name, node.id))
                known = node.id in module.definitions or node.id in module.imported
                if known and found not in seen:
                    seen.add(found)
                    waiting.append(found)


@functools.cache
def _module(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"no module {name}"
    assert spec.origin is not None, f"no source of {name}"
    path = Path(spec.origin)
    tree = ast.parse(path.read_text())
    definitions: dict[str, ast.AST] = {}
    imported: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            definitions |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            definitions[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cryoloom."):
            imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return _Module(path, definitions, imported)


def source_of(step: Step) -> Path:
    """File of a step."""
    return Path(inspect.getfile(step.function))
