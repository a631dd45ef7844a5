"""Tests mirror the source: ``tests/<path>/test_<module>.py`` for ``src/cryoloom/<path>/<module>.py``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cryoloom

PACKAGE, TESTS = Path(cryoloom.__file__).parent, Path(__file__).parent

DECLARATIONS = {
    "contract/context.py",  # a protocol
    "contract/planned.py",  # a list
    "errors.py",
    "model/added_later.py",
    "model/item.py",
    "model/left_out.py",
    "model/pixels.py",
    "store/names.py",
    "store/tables.py",
}
"""Modules that only declare: there is nothing to run."""
TWINS = ("_cpu.py", "_gpu.py", "_torch.py")
"""Versions of a kernel for one kind of device: the test of their door runs each of them."""
TESTED_BESIDE = {
    "algorithms": 44,
    "cli": 40,
    "contract": 3,
    "engine": 24,
    "formats": 31,
    "geometry": 1,
    "kernels": 8,
    "model": 11,
    "procedures": 5,
    "programs": 6,
    "report": 1,
    "scipion": 6,
    "simulate": 2,
    "steps": 1,
    "store": 7,
    "views": 8,
    "web": 37,
}
"""Modules by room that are tested with their neighbours and have no file of their own. These numbers only
fall: a new module brings its test."""


def modules_without_their_own_test() -> list[str]:
    """Paths of source modules below the package, those that need no test left out."""
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return sorted(
        module.as_posix()
        for module in modules
        if module.as_posix() not in DECLARATIONS
        and not module.name.endswith(TWINS)
        and not (TESTS / module.parent / f"test_{module.name}").is_file()
    )


def test_a_new_module_brings_its_test():
    lacking = modules_without_their_own_test()
    found = Counter(module.split("/")[0] for module in lacking)
    more = {room: n for room, n in found.items() if n > TESTED_BESIDE.get(room, 0)}
    named = [module for module in lacking if module.split("/")[0] in more]
    assert not more, f"write tests/<path>/test_<module>.py; without one are {named}"


def test_the_numbers_are_not_larger_than_they_need_be():
    found = Counter(module.split("/")[0] for module in modules_without_their_own_test())
    assert {room: found[room] for room in TESTED_BESIDE} == TESTED_BESIDE, "lower the numbers"


def test_declarations_that_need_no_test_exist():
    assert all((PACKAGE / module).is_file() for module in DECLARATIONS)
