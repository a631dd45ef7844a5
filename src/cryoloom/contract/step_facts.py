"""Declarations of a step about its results, read from its source.

Commands that only read a project import no step. Importing the steps takes seconds, since torch comes with
them. Their declarations are plain text: figures, sentences, sources and defaults are constants, of the module
or of one it imports from. `step_facts` evaluates these, and imports the steps only where a declaration needs
more than that.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoloom.contract.citations import CitedFor, references_of
from cryoloom.contract.discovery import find_step, step_source
from cryoloom.contract.figures import Bounds, Column, Figure
from cryoloom.contract.syntax_trees import syntax_tree

if TYPE_CHECKING:
    from cryoloom.contract.step import Step

__all__ = ["StepFacts", "step_facts"]

_ROOT = "cryoloom"
_PLACE_OF_DEFAULT = {"Field": 0, "setting": 0, "option": 1}
"""Argument of each call that declares a parameter."""
_EMPTY = {"dict": dict, "list": list, "tuple": tuple}
_READ_CLASSES = {one.__name__: one for one in (Bounds, CitedFor, Column, Figure)}


@dataclass(frozen=True, slots=True)
class StepFacts:
    """The part of a `Step` that tables and texts of finished runs need."""

    name: str
    summary: str
    methods: str
    figures: tuple[Figure, ...]
    citations: tuple[str | CitedFor, ...]
    is_source: bool
    gives: str
    """Name of the model's type."""
    defaults: Mapping[str, Any]
    """Default of every parameter; ``...`` for one without a default."""
    source_of: tuple[str, ...]
    """Properties that a series gains from the step, as `Step.source_of`."""
    held_axis: Mapping[str, str] | None
    """Parameters by which `Step.hold_axis` fixes the tilt axis, those that are words; None if it cannot."""
    beside: str = ""
    """The native step that does the same as this program step; "" if there is none."""

    @classmethod
    def of(cls, step: Step) -> StepFacts:
        """Those of a declaration that is imported."""
        defaults = {
            name: ... if field.is_required() else field.get_default(call_default_factory=True)
            for name, field in step.params.model_fields.items()
        }
        return cls(
            step.name,
            step.summary,
            step.methods,
            step.figures,
            step.citations,
            step.needs is None,
            step.gives.__name__,
            defaults,
            step.source_of,
            None if step.hold_axis is None else _words_of(step.hold_axis(0.0)),
            step.beside,
        )

    def references(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Sources of the step's methods that apply to these parameters."""
        return references_of(self.citations, parameters)


def step_facts(name: str) -> StepFacts:
    """Facts of a step. Raises UserInputError, which names the nearest ones, if there is none."""
    try:
        return _read(name)
    except _UnreadableError:
        return StepFacts.of(find_step(name))


class _UnreadableError(Exception):
    """The source declares it in a way that is not read here."""


@functools.cache
def _read(name: str) -> StepFacts:
    path = step_source(name)
    if path is None:
        raise _UnreadableError
    source = _source(path)
    function, declared = source.declaration_of(name)
    words = {word.arg: word.value for word in declared.keywords if word.arg}
    citations = source.value(words["citations"]) if "citations" in words else ()
    programs = source.programs(words["programs"]) if "programs" in words else ()
    params = next(one.annotation for one in function.args.args if one.arg == "params")
    return StepFacts(
        name,
        (ast.get_docstring(function) or "").split("\n", 1)[0],
        source.value(words["methods"]) if "methods" in words else "",
        tuple(source.value(words["figures"])) if "figures" in words else (),
        (*citations, *dict.fromkeys(programs)),
        isinstance(words["needs"], ast.Constant),
        _named(words["gives"]),
        source.defaults(_named(params)),
        source.value(words["source_of"]) if "source_of" in words else (),
        _held_axis(words.get("hold_axis")),
        source.value(words["beside"]) if "beside" in words else "",
    )


def _held_axis(node: ast.expr | None) -> Mapping[str, str] | None:
    """Words of the dictionary that a lambda returns."""
    if node is None:
        return None
    if not (isinstance(node, ast.Lambda) and isinstance(node.body, ast.Dict)):
        raise _UnreadableError
    entries = zip(node.body.keys, node.body.values, strict=True)
    constants = {
        key.value: value.value
        for key, value in entries
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    }
    return _words_of(constants)


def _words_of(parameters: Mapping[Any, Any]) -> Mapping[str, str]:
    return {name: value for name, value in parameters.items() if isinstance(value, str)}


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _first_word(call: ast.Call) -> Any:
    return call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None


def _named(node: ast.expr | None) -> str:
    if not isinstance(node, ast.Name):
        raise _UnreadableError
    return node.id


@dataclass(frozen=True)
class _Source:
    """A module's names, without running it."""

    tree: ast.Module

    @functools.cached_property
    def assigned(self) -> dict[str, ast.expr]:
        """Expressions that names of the module stand for."""
        found: dict[str, ast.expr] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                found[node.target.id] = node.value
        return found

    @functools.cached_property
    def defined(self) -> dict[str, ast.ClassDef | ast.FunctionDef]:
        """Classes and functions of the module."""
        kinds = (ast.ClassDef, ast.FunctionDef)
        return {node.name: node for node in self.tree.body if isinstance(node, kinds)}

    @functools.cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        """Module and name there of what is imported from modules of this package."""
        return {
            alias.asname or alias.name: (node.module, alias.name)
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == _ROOT
            for alias in node.names
        }

    def declaration_of(self, step: str) -> tuple[ast.FunctionDef, ast.Call]:
        """The function of a step and its ``@step(...)``."""
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef):
                for call in node.decorator_list:
                    if isinstance(call, ast.Call) and _called(call) == "step" and _first_word(call) == step:
                        return node, call
        raise _UnreadableError

    def home_of(self, name: str) -> tuple[_Source, str]:
        """Module that defines a name, and its name there."""
        if name in self.assigned or name in self.defined:
            return self, name
        if name not in self.imported:
            raise _UnreadableError
        module, there = self.imported[name]
        return _source(_path_of(module)).home_of(there)

    def value(self, node: ast.expr) -> Any:
        """Value of an expression made of constants."""
        match node:
            case ast.Constant():
                return node.value
            case ast.Tuple() | ast.List():
                return tuple(self._elements(node.elts))
            case ast.UnaryOp(op=ast.USub()):
                return -self.value(node.operand)
            case ast.BinOp(op=ast.Add()):
                return self.value(node.left) + self.value(node.right)
            case ast.BinOp(op=ast.Mult()):
                return self.value(node.left) * self.value(node.right)
            case ast.JoinedStr():
                return "".join(self._formatted(part) for part in node.values)
            case ast.Name():
                home, name = self.home_of(node.id)
                if name not in home.assigned:
                    raise _UnreadableError
                return home.value(home.assigned[name])
            case ast.Call() if (made := _READ_CLASSES.get(_called(node))) is not None:
                words = {word.arg: self.value(word.value) for word in node.keywords if word.arg}
                return made(*(self.value(argument) for argument in node.args), **words)
        raise _UnreadableError

    def _elements(self, nodes: list[ast.expr]) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found += self.value(node.value)
            else:
                found.append(self.value(node))
        return found

    def _formatted(self, part: ast.expr) -> str:
        if isinstance(part, ast.FormattedValue):
            spec = "" if part.format_spec is None else self.value(part.format_spec)
            return format(self.value(part.value), spec)
        return str(self.value(part))

    def programs(self, node: ast.expr) -> list[str]:
        """Citations of declared programs: a tuple of names, or a name of one."""
        if isinstance(node, ast.Name):
            home, name = self.home_of(node.id)
            if name in home.assigned:
                return home.programs(home.assigned[name])
        if isinstance(node, ast.Tuple):
            return [citation for element in node.elts for citation in self.programs(element)]
        if not isinstance(node, ast.Call):
            raise _UnreadableError
        if _called(node) == "Program":
            return [self.value(word.value) for word in node.keywords if word.arg == "citation"]
        home, name = self.home_of(_called(node))  # a function that returns one
        made = home.defined.get(name)
        last = made.body[-1] if isinstance(made, ast.FunctionDef) else None
        if not (isinstance(made, ast.FunctionDef) and isinstance(last, ast.Return)):
            raise _UnreadableError
        if not isinstance(last.value, ast.Call):
            raise _UnreadableError
        citation = next(word.value for word in last.value.keywords if word.arg == "citation")
        if isinstance(citation, ast.Name) and (given := _argument(made, node, citation.id)) is not None:
            return [self.value(given)]
        if isinstance(citation, ast.Name) and (usual := _default(made, citation.id)) is not None:
            return [home.value(usual)]
        return [home.value(citation)]

    def defaults(self, class_name: str) -> dict[str, Any]:
        """Defaults of a class of parameters and of those it is made from."""
        home, name = self.home_of(class_name)
        declared = home.defined.get(name)
        if not isinstance(declared, ast.ClassDef):
            raise _UnreadableError
        found: dict[str, Any] = {}
        for base in declared.bases:
            if _named(base) != "BaseModel":
                found |= home.defaults(_named(base))
        for node in declared.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found |= home.default_of(node.target.id, node.value)
            elif isinstance(node, ast.Assign) and any(_is_field(t) for t in node.targets):
                raise _UnreadableError
        return found

    def default_of(self, name: str, node: ast.expr | None) -> dict[str, Any]:
        """A parameter's default by its name."""
        if isinstance(node, ast.Call) and (place := _PLACE_OF_DEFAULT.get(_called(node))) is not None:
            words = {word.arg: word.value for word in node.keywords}
            if "default_factory" in words:
                return {name: _EMPTY[_named(words["default_factory"])]()}
            node = node.args[place] if len(node.args) > place else words.get("default")
        if node is None:
            return {name: ...}
        if isinstance(node, ast.Call) and _called(node) == "Path":
            return {name: Path(*(self.value(argument) for argument in node.args))}
        return {name: self.value(node)}


def _argument(function: ast.FunctionDef, call: ast.Call, name: str) -> ast.expr | None:
    """Argument of a call; None if it does not have it."""
    given = dict(zip((one.arg for one in function.args.args), call.args, strict=False))
    return (given | {word.arg: word.value for word in call.keywords if word.arg}).get(name)


def _default(function: ast.FunctionDef, name: str) -> ast.expr | None:
    """Default of an argument of a function; None if it has none."""
    arguments = function.args
    last = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    usual = {one.arg: value for one, value in zip(last, arguments.defaults, strict=True)}
    for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            usual[one.arg] = value
    return usual.get(name)


def _is_field(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id != "model_config"


@functools.cache
def _source(path: Path) -> _Source:
    return _Source(syntax_tree(path))


def _path_of(module: str) -> Path:
    """File of a module of this package."""
    root = Path(importlib.import_module(_ROOT).__path__[0])
    path = root.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
