"""The how-to's example is live: three files make a step, and nothing else has to be touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from cryoloom.formats.pixels.mrc import write_mrc

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "examples"
ADDED = """
import sys
import cryoloom.steps
cryoloom.steps.__path__.append(sys.argv[1])
"""
SHOWN = (
    ADDED
    + """
from typer.testing import CliRunner
from cryoloom.cli.main import app
from cryoloom.contract import find_step
print(find_step("invert_contrast").summary)
from cryoloom.cli.reference import steps_as_markdown
print(steps_as_markdown())
shown = CliRunner().invoke(app, ["run", "invert_contrast", "--help"], env={"COLUMNS": "200"})
print(shown.output)
"""
)
PROCESSED = (
    ADDED
    + """
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.project import Project
project = Project.create("p")
given = {"tilt_axis_deg": 0.0, "dose_per_tilt_per_angstrom2": 3.0, "pixel_size_angstrom": 2.5}
project.run("import_tilt_series", stack="TS_01.mrc", executor=InProcessExecutor("cpu"), **given)
project.run("invert_contrast", input="import_tilt_series", strength=2.0, executor=InProcessExecutor("cpu"))
item = project.results()[-1]
print(item.step, item.state, dict(item.figures))
"""
)


def test_the_guide_shows_the_live_files():
    guide = (EXAMPLES.parent / "add-a-step.md").read_text()
    for name in ("invert_contrast.py", "test_invert_contrast.py"):
        assert (EXAMPLES / name).read_text() in guide, f"docs/how-to/add-a-step.md is behind {name}"


def test_the_step_is_found_and_has_options():
    # A process of its own: the step must not be left behind in this one.
    folder = str(EXAMPLES)
    shown = subprocess.run([sys.executable, "-c", SHOWN, folder], capture_output=True, text=True, check=True)
    assert "Mirror every image about its mean." in shown.stdout
    assert "--strength" in shown.stdout
    assert "1 mirrors about the mean" in shown.stdout
    assert "| `contrast_ratio` |  | Contrast, after over before." in shown.stdout  # its new figure


def test_it_runs_in_the_engine(tmp_path, rng):
    write_mrc(tmp_path / "TS_01.mrc", rng.normal(10, 1, (5, 24, 20)).astype(np.float32), 2.5)
    (tmp_path / "TS_01.rawtlt").write_text("-30\n-15\n0\n15\n30\n")
    done = subprocess.run(
        [sys.executable, "-c", PROCESSED, str(EXAMPLES)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "invert_contrast done {'contrast_ratio': 2.0" in done.stdout, done.stdout + done.stderr


def test_the_examples_own_test_passes(tmp_path):
    """As in its place: `cryoloom.steps` finds the example, `tests/conftest.py` gives the fixtures."""
    tests = Path(__file__).resolve().parents[1]
    shutil.copy(EXAMPLES / "test_invert_contrast.py", tmp_path)
    (tmp_path / "with_example.py").write_text(ADDED.replace("sys.argv[1]", repr(str(EXAMPLES))))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "with_example", "-p", "conftest", str(tmp_path)]
    environment = {"PYTHONPATH": f"{tmp_path}:{tests}:{tests.parent / 'src'}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
