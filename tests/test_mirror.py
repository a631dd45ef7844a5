"""Tests mirror the source: ``tests/<path>/test_<module>.py`` for ``src/cryoloom/<path>/<module>.py``.

A module without its own test file is tested with a neighbour that imports it by name. No module is reached
only through others.
"""

from __future__ import annotations

from pathlib import Path

import cryoloom

PACKAGE, TESTS = Path(cryoloom.__file__).parent, Path(__file__).parent

DECLARATIONS = {
    "contract/context.py",  # a protocol
    "contract/planned.py",  # a list
    "errors.py",
    "kernels/projection/depth_factors.py",  # tuples
    "model/added_later.py",
    "model/item.py",
    "model/left_out.py",
    "model/pixels.py",
    "store/names.py",
    "store/tables.py",
    "version.py",
}
"""Modules that only declare: there is nothing to run."""
TWINS = ("_cpu.py", "_gpu.py", "_torch.py")
"""Versions of a kernel for one kind of device: the test of their door runs each of them."""


def modules_reached_only_through_others() -> list[str]:
    """Paths of source modules that have no test file of their own and that no test imports by name."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return sorted(
        module.as_posix()
        for module in modules
        if module.as_posix() not in DECLARATIONS
        and not module.name.endswith(TWINS)
        and not (TESTS / module.parent / f"test_{module.name}").is_file()
        and "cryoloom." + ".".join(module.with_suffix("").parts) not in tests
    )


def test_a_new_module_brings_its_test():
    lacking = modules_reached_only_through_others()
    assert not lacking, f"write tests/<path>/test_<module>.py; no test imports {lacking}"


def test_declarations_that_need_no_test_exist():
    assert all((PACKAGE / module).is_file() for module in DECLARATIONS)
