"""Signs and angles of the tilt geometry stand in `geometry` alone: read from the source's syntax tree."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import cryoloom

PACKAGE = Path(cryoloom.__file__).parent
INDEPENDENT = ("geometry", "simulate")
"""`simulate` writes the projection out again on purpose: it is the truth that the rest is tested with."""
TRIGONOMETRY = {"cos", "sin", "tan", "arccos", "arcsin", "arctan"}
OF_THE_TILT = re.compile(r"\b\w*(tilt|axis_deg|axis_rad)\w*|\b(axis|axes)\b")
OF_THE_HAND = re.compile(r"(^|[._])(hand|handedness)\b")


@functools.cache
def sources():
    """Relative path and tree of every module outside the rooms that may."""
    paths = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    return [
        (path.as_posix(), ast.parse((PACKAGE / path).read_text(encoding="utf-8")))
        for path in paths
        if path.parts[0] not in INDEPENDENT
    ]


def function_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def trigonometry_of_the_tilt(relative: str, tree: ast.AST) -> list[str]:
    return [
        f"{relative}:{call.lineno} {ast.unparse(call)}"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and function_name(call) in TRIGONOMETRY
        and call.args
        and OF_THE_TILT.search(ast.unparse(call.args[0]))
    ]


def signs_of_the_hand(relative: str, tree: ast.AST) -> list[str]:
    """Products with the handedness, and its negation."""
    found = []
    for node in ast.walk(tree):
        sides = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            sides = [node.left, node.right]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            sides = [node.operand]
        for side in sides:
            name = ast.unparse(side)
            if isinstance(side, ast.Name | ast.Attribute | ast.BoolOp) and OF_THE_HAND.search(name):
                found.append(f"{relative}:{side.lineno} {ast.unparse(node)}")
    return found


def test_cosines_of_tilt_and_axis_are_written_out_in_geometry_only():
    found = [line for relative, tree in sources() for line in trigonometry_of_the_tilt(relative, tree)]
    assert found == [], "use geometry.tilt_axis, slab_path, projection or projection_derivatives"


def test_the_sign_of_the_handedness_is_applied_in_geometry_only():
    found = [line for relative, tree in sources() for line in signs_of_the_hand(relative, tree)]
    assert found == [], "use geometry.depth.defocus_change"


def test_the_search_finds_what_it_is_for():
    tree = ast.parse(
        "x = np.cos(np.deg2rad(tilt_deg))\ny = self._hand * w\nz = -handedness\nw = np.cos(phase)"
    )
    assert len(trigonometry_of_the_tilt("m", tree)) == 1
    assert len(signs_of_the_hand("m", tree)) == 2
