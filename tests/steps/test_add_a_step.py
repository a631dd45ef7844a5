"""The how-to's example is live: three files make a step, and nothing else has to be touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "examples"
PROGRAM = """
import sys
import cryoloom.steps
cryoloom.steps.__path__.append(sys.argv[1])
sys.path.insert(0, sys.argv[1])
from typer.testing import CliRunner
from cryoloom.cli.main import app
from cryoloom.contract import find_step
print(find_step("invert_contrast").summary)
from cryoloom.cli.reference import steps_as_markdown
print(steps_as_markdown())
shown = CliRunner().invoke(app, ["run", "invert_contrast", "--help"], env={"COLUMNS": "200"})
print(shown.output)
"""


def test_the_guide_shows_the_live_files():
    guide = (EXAMPLES.parent / "add-a-step.md").read_text()
    for name in ("invert_contrast.py", "test_invert_contrast.py"):
        assert (EXAMPLES / name).read_text() in guide, f"docs/how-to/add-a-step.md is behind {name}"


def test_the_step_is_found_and_has_options():
    # A process of its own: the step must not be left behind in this one.
    folder = str(EXAMPLES)
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder], capture_output=True, text=True, check=True
    )
    assert "Mirror every image about its mean." in shown.stdout
    assert "--strength" in shown.stdout
    assert "1 mirrors about the mean" in shown.stdout
    assert "| `contrast_ratio` |  | Contrast, after over before." in shown.stdout  # its new figure


def test_the_examples_own_test_passes():
    tests = Path(__file__).resolve().parents[1]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "conftest",
        str(EXAMPLES),
        "--rootdir",
        str(EXAMPLES),
    ]
    environment = {"PYTHONPATH": f"{EXAMPLES}:{tests}:{tests.parent / 'src'}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
