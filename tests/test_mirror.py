"""Tests mirror the source file by file (decision 23): what is checked here has no list of exceptions.

``src/cryoloom/a/b.py`` is tested in ``tests/a/test_b.py``, a package that holds functions itself in
``tests/a/test_<package>.py``. A module that only declares has nothing to run. The versions of a kernel are
tested through its door.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cryoloom

PACKAGE, TESTS = Path(cryoloom.__file__).parent, Path(__file__).parent
TWINS = ("_cpu", "_gpu", "_torch")
"""Ends of the names of a kernel's versions for one kind of device, which stand beside their door."""
RUNS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def only_declares(tree: ast.Module) -> bool:
    """Whether there is nothing to run: constants, protocols, and classes without methods."""
    protocols = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    ]
    others = [node for node in tree.body if node not in protocols]
    return not any(isinstance(node, RUNS) for other in others for node in ast.walk(other))


def place_of_tests(module: Path) -> Path:
    """Where a module, relative to the package, has its tests."""
    if module.name == "__init__.py":
        return TESTS / module.parent / f"test_{(PACKAGE / module).parent.name}.py"
    twin = next((end for end in TWINS if module.stem.endswith(end)), None)
    door = module.stem.removesuffix(twin or "")
    is_part_of_a_door = twin and module.parts[0] == "kernels" and (PACKAGE / module).with_stem(door).is_file()
    return TESTS / module.parent / f"test_{door if is_part_of_a_door else module.stem}.py"


def modules() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def test_every_module_that_runs_has_its_test_file():
    lacking = {
        module.as_posix(): place_of_tests(module).relative_to(TESTS).as_posix()
        for module in modules()
        if not place_of_tests(module).is_file()
        and not only_declares(ast.parse((PACKAGE / module).read_text(encoding="utf-8")))
    }
    assert not lacking, f"write tests/...: {lacking}"


def test_folders_of_tests_are_folders_of_the_source():
    folders = {module.parent for module in modules()}
    for path in TESTS.rglob("test_*.py"):
        assert path.parent.relative_to(TESTS) in folders, f"{path}: there is no such folder of the source"


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(path: Path) -> list[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def called_in(function: ast.AST) -> set[str]:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}


def checks_itself(function: ast.AST) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or any(
        name.startswith("assert_") or name in {"raises", "warns", "fail", "assert_close"}
        for name in called_in(function)
    )


def test_every_test_checks_something():
    """By itself, or by a function of its file or of `makers` that it calls; running alone shows nothing."""
    files = {path: functions_of(path) for path in sorted(TESTS.rglob("*.py"))}
    shared = [f for path, found in files.items() if not path.name.startswith("test_") for f in found]
    calls = {id(function): called_in(function) for found in files.values() for function in found}
    checking_shared = {function.name for function in shared if checks_itself(function)}
    idle = []
    for path, functions in files.items():
        if not path.name.startswith("test_"):
            continue
        checking = checking_shared | {function.name for function in functions if checks_itself(function)}
        while further := {f.name for f in (*shared, *functions) if calls[id(f)] & checking} - checking:
            checking |= further
        idle += [
            f"{path.relative_to(TESTS)}: {function.name}"
            for function in functions
            if function.name.startswith("test_") and function.name not in checking
        ]
    assert not idle


@pytest.mark.parametrize(
    ("source", "declares"),
    [
        ("A = (1, 2)\nB: int = 3\n", True),
        ("@dataclass\nclass A:\n    x: int = field(default_factory=dict)\n", True),
        ("class A(Protocol):\n    def f(self) -> int: ...\n", True),
        ("class A:\n    @property\n    def f(self) -> int:\n        return 1\n", False),
        ("A = {'x': lambda v: v}\n", False),
        ("def f():\n    return 1\n", False),
        ("if True:\n    async def f():\n        return 1\n", False),
    ],
)
def test_what_counts_as_a_declaration(source, declares):
    assert only_declares(ast.parse(source)) is declares


def test_where_a_module_has_its_tests():
    assert (
        place_of_tests(Path("kernels/rows/filter_rows_torch.py"))
        == TESTS / "kernels/rows/test_filter_rows.py"
    )
    assert place_of_tests(Path("kernels/rows/filter_rows.py")) == TESTS / "kernels/rows/test_filter_rows.py"
    # No kernel, and no door beside it: a name that only ends like a version.
    assert place_of_tests(Path("engine/worker/on_gpu.py")) == TESTS / "engine/worker/test_on_gpu.py"
    assert place_of_tests(Path("__init__.py")) == TESTS / "test_cryoloom.py"
