"""Numbers that decide say what they mean and where they come from (STYLE.md, section 7)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cryoloom

PACKAGE = Path(cryoloom.__file__).parent
DECIDING = ("algorithms", "procedures", "steps", "kernels")
"""Folders whose constants decide results."""


def unexplained(path: Path) -> Iterator[str]:
    """Constants with a number in them and no comment or docstring, neither their own nor one of their group.

    A group is a run of constants without a blank line between them: one text may speak of all.
    """
    text = path.read_text()
    lines = text.splitlines()
    group: list[str] = []
    is_said, end = False, -1
    for node in ast.parse(text).body:
        first = node.lineno
        if first > end + 1 and any(not line.strip() for line in lines[end : first - 1]):
            yield from () if is_said else group
            group, is_said = [], False
        is_said |= any("#" in line for line in lines[max(end, 0) : node.end_lineno])
        end = node.end_lineno or first
        if isinstance(node, ast.Expr):
            is_said = True
        elif isinstance(node, ast.Assign | ast.AnnAssign) and is_numeric_constant(node):
            group.append(f"{path.relative_to(PACKAGE)}:{first}")
    yield from () if is_said else group


def is_numeric_constant(node: ast.Assign | ast.AnnAssign) -> bool:
    """An upper-case name for a number, or for a few of them."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    kinds = (
        []
        if node.value is None
        else [type(part.value) for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
    )
    is_number = (int in kinds or float in kinds) and str not in kinds
    return is_number and all(isinstance(name, ast.Name) and name.id.strip("_").isupper() for name in names)


def test_constants_that_decide_are_explained():
    paths = [path for folder in DECIDING for path in (PACKAGE / folder).rglob("*.py")]
    assert not [where for path in sorted(paths) for where in unexplained(path)]
