"""The package itself: its version, and the project, which is loaded at its first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cryoloom
from cryoloom.engine.project import Project
from cryoloom.version import __version__


def test_the_project_and_the_version_are_there_and_nothing_else():
    assert cryoloom.Project is Project
    assert cryoloom.__version__ == __version__
    assert sorted(cryoloom.__all__) == ["Project", "__version__"]
    with pytest.raises(AttributeError, match="has no attribute 'Projekt'"):
        _ = cryoloom.Projekt


def test_importing_it_loads_no_engine():
    code = "import cryoloom, sys; print(any(name.startswith('cryoloom.engine') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
