"""Pages and reports start at once: nothing in `views` or `report` imports torch, numba or the steps."""

import subprocess
import sys

PROGRAM = """
import pkgutil, importlib, sys
import cryoloom.report, cryoloom.views
for package in (cryoloom.views, cryoloom.report):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(sorted({"torch", "numba", "sqlalchemy", "cryoloom.steps.reconstruct"} & set(sys.modules)))
"""


def test_no_view_imports_what_is_slow():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
