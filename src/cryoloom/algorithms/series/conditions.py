"""Conditions on figures, such as ``defocus_um < 6 and fit_resolution_angstrom < 10``.

The grammar is Python's own for numbers, names, comparisons (chained ones too), ``and``, ``or``, ``not``,
``+ - * /``, brackets and ``abs``. Nothing is executed: the tree is evaluated, and anything else is refused.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cryoloom.errors import DataUnfitError, UserInputError

__all__ = ["Condition", "look_up", "parse_condition", "unmeasured_names"]

_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_PER_ANGSTROM = {"um": 1e-4, "nm": 0.1}
_STATISTICS = ("median", "mean")


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition. ``names`` are its figures, as written."""

    text: str
    names: tuple[str, ...]
    _tree: ast.expr

    def failing(self, figures: Mapping[str, float]) -> str:
        """Why the condition is not met, "" if it is; DataUnfitError for an unknown figure."""
        values = {name: look_up(name, figures) for name in self.names}
        if _truth(self._tree, values):
            return ""
        listed = ", ".join(f"{name} is {value:.4g}" for name, value in values.items())
        return f"not {self.text}: {listed}" if listed else f"not {self.text}"


def parse_condition(text: str) -> Condition:
    """Parse a condition; raises UserInputError with the part that cannot be parsed."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise UserInputError(
            f"cannot read the condition {text!r}; expected something like 'defocus_um < 6 and n_tilts > 30'"
        ) from error
    _check_truth(tree, text)
    named = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id != "abs")
    return Condition(text.strip(), tuple(dict.fromkeys(named)), tree)


def unmeasured_names(
    names: Iterable[str], figures: Mapping[str, float], not_measurable: Mapping[str, str]
) -> dict[str, str]:
    """Names in a condition, as written, of figures that have no value; with the reason."""
    unknown = {}
    for name in names:
        spellings = [spelling for spelling, _ in _spellings(name)]
        reason = next(
            (not_measurable[spelling] for spelling in spellings if spelling in not_measurable), None
        )
        if reason is not None and not any(spelling in figures for spelling in spellings):
            unknown[name] = reason
    return unknown


def _spellings(name: str) -> list[tuple[str, float]]:
    """Figures that a name may stand for, and the factor from their unit to that of the name."""
    stem, _, unit = name.rpartition("_")
    spellings = [(name, 1.0), *((f"{stem}_{statistic}_{unit}", 1.0) for statistic in _STATISTICS)]
    if unit in _PER_ANGSTROM:
        factor = _PER_ANGSTROM[unit]
        spellings.append((f"{stem}_angstrom", factor))
        spellings += [(f"{stem}_{statistic}_angstrom", factor) for statistic in _STATISTICS]
    return spellings


def look_up(name: str, figures: Mapping[str, float]) -> float:
    """A figure by name; ``_median`` or ``_mean`` may be omitted, ``_angstrom`` may be given as _um or _nm."""
    for spelling, factor in _spellings(name):
        if spelling in figures:
            return figures[spelling] * factor
    near = difflib.get_close_matches(name, figures, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise DataUnfitError(
        f"there is no figure {name!r}; {hint}There are: {', '.join(sorted(figures)) or 'none'}"
    )


def _check_truth(node: ast.expr, text: str) -> None:
    """Refuse whatever is not a condition."""
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check_truth(value, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_truth(node.operand, text)
    elif isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
        for value in (node.left, *node.comparators):
            _check_number(value, text)
    else:
        raise _refused(node, text, "a comparison such as 'defocus_um < 6'")


def _check_number(node: ast.expr, text: str) -> None:
    """Refuse whatever is not a number or a figure."""
    is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    if is_number or (isinstance(node, ast.Name) and node.id != "abs"):
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check_number(node.operand, text)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        _check_number(node.left, text)
        _check_number(node.right, text)
    elif _is_abs(node):
        _check_number(node.args[0], text)  # type: ignore[attr-defined]  # a call, _is_abs says
    else:
        raise _refused(node, text, "a number or the name of a figure")


def _is_abs(node: ast.expr) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return False
    return node.func.id == "abs" and len(node.args) == 1 and not node.keywords


def _refused(node: ast.expr, text: str, expected: str) -> UserInputError:
    got = ast.get_source_segment(text.strip(), node) or text
    return UserInputError(f"cannot use {got!r} in the condition {text!r}; expected {expected}")


def _truth(node: ast.expr, values: Mapping[str, float]) -> bool:
    if isinstance(node, ast.BoolOp):
        joined = all if isinstance(node.op, ast.And) else any
        return joined(_truth(value, values) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return not _truth(node.operand, values)
    if not isinstance(node, ast.Compare):
        raise TypeError(f"a {type(node).__name__} was let into a condition")
    numbers = [_number(value, values) for value in (node.left, *node.comparators)]
    return all(
        _COMPARE[type(op)](left, right)
        for op, left, right in zip(node.ops, numbers[:-1], numbers[1:], strict=True)
    )


def _number(node: ast.expr, values: Mapping[str, float]) -> float:
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]  # a number, _check_number says
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.UnaryOp):
        value = _number(node.operand, values)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Call):
        return abs(_number(node.args[0], values))
    if isinstance(node, ast.BinOp):
        left, right = _number(node.left, values), _number(node.right, values)
        if isinstance(node.op, ast.Div) and right == 0:
            raise DataUnfitError(f"the condition divides {left:g} by zero")
        return _ARITHMETIC[type(node.op)](left, right)
    raise TypeError(f"a {type(node).__name__} was let into a condition")
