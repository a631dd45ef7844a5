"""The door of a kernel takes and gives tensors and chooses its twin by where they lie: nobody else does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cryoloom

PACKAGE = Path(cryoloom.__file__).parent
KERNELS = PACKAGE / "kernels"
TWINS = ("_cpu", "_torch", "_gpu")
DOORS = sorted(
    path
    for path in KERNELS.glob("*/*.py")
    if not path.stem.endswith(TWINS) and path.with_name(f"{path.stem}_cpu.py").is_file()
)
CPU_ONLY = {"eer_events", "specimen_layers"}
"""Kernels with one version: a stream that is read bit by bit, and the simulator's tilts side by side."""
WITHOUT_TORCH = ("formats/pixels/", "web/pictures/")
"""What a viewer runs: it calls the numba twin, because torch takes seconds to import."""


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public_functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def annotations(function: ast.FunctionDef) -> list[str]:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [ast.unparse(one.annotation) if one.annotation else "nothing" for one in arguments]


def imported(path: Path) -> set[str]:
    """Modules that a file names in imports, at its top or within a function."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_there_are_doors_in_every_room():
    rooms = {path.parent.name for path in DOORS}
    assert rooms == {"images", "movies", "projection", "rows", "slices"}


@pytest.mark.parametrize("door", DOORS, ids=named)
def test_a_door_takes_and_gives_tensors(door):
    functions = list(public_functions(door))
    assert functions
    for function in functions:
        types = [*annotations(function), ast.unparse(function.returns) if function.returns else "nothing"]
        arrays = [
            name for name in types if "ndarray" in name.lower() or name in ("Array", "Floats", "nothing")
        ]
        assert not arrays, f"{function.name} of {named(door)} has {arrays}; expected torch.Tensor"
    tensors = [function.name for function in functions if "torch.Tensor" in annotations(function)]
    assert tensors, f"no function of {named(door)} takes a tensor"


@pytest.mark.parametrize("door", DOORS, ids=named)
def test_a_door_asks_where_its_tensors_lie(door):
    text = door.read_text(encoding="utf-8")
    if door.stem in CPU_ONLY:
        assert "expect_cpu(" in text
    else:
        assert "on_cpu(" in text or "vector_code_fits(" in text, f"{named(door)} has one version only"


def test_no_kernel_moves_its_tensors_to_the_cpu_by_itself():
    moving = [
        named(path)
        for path in KERNELS.rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr == "cpu"
    ]
    assert not moving, f"{moving} move tensors; the caller says where they lie"


def test_algorithms_do_not_ask_for_the_kind_of_device():
    asking = [
        named(path)
        for path in (PACKAGE / "algorithms").rglob("*.py")
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Attribute) and ast.unparse(node).endswith(("device.type", ".is_cuda")))
        or (isinstance(node, ast.Name) and node.id in ("vector_code_fits", "on_cpu"))
        or (isinstance(node, ast.Attribute) and "torch.device(" in ast.unparse(node) and node.attr == "type")
    ]
    assert not asking, f"{asking} choose by device; give the kernel a door that does"


def test_twins_and_vector_code_are_behind_doors():
    for path in PACKAGE.rglob("*.py"):
        if named(path).startswith(("kernels/", *WITHOUT_TORCH)):
            continue
        behind = {
            module
            for module in imported(path)
            if module.startswith("cryoloom.kernels.")
            and (module.endswith(TWINS) or module.startswith("cryoloom.kernels.vector"))
        }
        assert not behind, f"{named(path)} imports {sorted(behind)}; import the door"


def test_kernels_with_one_version_exist():
    assert {path.stem for path in DOORS} >= CPU_ONLY
