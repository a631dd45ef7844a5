"""No code outside the steps knows a step by its name: what it needs of a step, the step declares."""

from __future__ import annotations

import ast
from pathlib import Path

import cryoloom
from cryoloom.contract import all_steps

PACKAGE = Path(cryoloom.__file__).parent
MAY_NAME_STEPS = ("steps", "programs", "scipion", "workflows")


def test_no_step_is_named_outside_the_rooms_that_may():
    names = set(all_steps())
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.value!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in MAY_NAME_STEPS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert found == [], "let the step declare what is needed of it (source_of, hold_axis, a role ...)"
