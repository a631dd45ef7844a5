"""Outside programs: what they print, how they end, and that they do not outlive who asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from cryoloom.engine.worker.interruption import StepInterrupted
from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.programs import run_program
from cryoloom.errors import DataUnfitError, TransientError, UserInputError


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()

    def run(code, *arguments, **how):
        how = {"look": lambda: None, **how}
        log = ItemLog(tmp_path / "log.txt", "a step of TS_01")
        command = [sys.executable, "-c", code, *arguments]
        return run_program(command, folder=folder, log=log, n_threads=3, **how)

    run.folder, run.log = folder, tmp_path / "log.txt"
    return run


def test_a_program_works_in_the_folder_and_its_output_is_logged(run):
    code = """
import os, pathlib, sys
print(os.environ["OMP_NUM_THREADS"], os.environ["MINE"], sys.argv[1], sys.stdin.read(), flush=True)
print("a complaint", file=sys.stderr)
pathlib.Path("made.txt").write_text("made")
"""
    output = run(code, "a $HOME; `word`", environment={"MINE": "5"}, stdin="given")
    assert output.text == "3 5 a $HOME; `word` given\na complaint\n"
    assert (run.folder / "made.txt").read_text() == "made"
    assert [path.name for path in run.folder.iterdir()] == ["made.txt"]
    lines = run.log.read_text().splitlines()
    assert lines[0].endswith("a step of TS_01")
    assert "  $ " in lines[1]
    assert lines[-2:] == output.text.splitlines()


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        ("print('tilt 7 is missing'); raise SystemExit(3)", DataUnfitError, "code 3: tilt 7 is missing"),
        ("raise SystemExit(1)", DataUnfitError, "it printed nothing"),
        ("import os; os.kill(os.getpid(), 9)", TransientError, r"ended by the machine \(SIGKILL\)"),
        ("import os; os.abort()", DataUnfitError, "code 134"),
    ],
)
def test_the_end_of_a_program_has_the_error_class_that_it_means(run, code, kind, sentence):
    with pytest.raises(kind, match=sentence):
        run(code)


def test_a_full_disk_is_the_fault_of_the_machine(run, monkeypatch):
    full = type("Usage", (), {"free": 0})
    monkeypatch.setattr("cryoloom.engine.worker.programs.shutil.disk_usage", lambda folder: full)
    with pytest.raises(TransientError, match="is full; free space"):
        run("raise SystemExit(1)")


def test_a_program_that_is_not_there_is_named(tmp_path):
    log = ItemLog(tmp_path / "log.txt", "")
    with pytest.raises(UserInputError, match="there is no program no_such_program"):
        run_program(["no_such_program"], folder=tmp_path, log=log, look=lambda: None, n_threads=1)
    with pytest.raises(TypeError, match="a list of words"):
        run_program("ls *", folder=tmp_path, log=log, look=lambda: None, n_threads=1)


SLEEPING = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path("pids.new").write_text(f"{os.getpid()} {child.pid}")
os.rename("pids.new", "pids")
time.sleep(60)
"""


def wait_for_pids(folder):
    end = time.monotonic() + 20
    while not (folder / "pids").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return [int(word) for word in (folder / "pids").read_text().split()]


def assert_gone(pids):
    end = time.monotonic() + 10
    alive = list(pids)
    while alive and time.monotonic() < end:
        time.sleep(0.05)
        alive = [pid for pid in alive if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert not alive


def test_a_program_is_ended_with_all_it_started_when_its_task_is(run):
    def look():
        if (run.folder / "pids").exists():
            raise StepInterrupted("stopped by the user")

    with pytest.raises(StepInterrupted):
        run(SLEEPING, look=look)
    assert_gone(wait_for_pids(run.folder))


def test_a_program_is_ended_when_its_time_is_over(run):
    with pytest.raises(TransientError, match=r"did not end within 0\.3 s"):
        run("import time; print('begun', flush=True); time.sleep(60)", timeout_s=0.3)
    assert "was ended after 0.3 s" in run.log.read_text()


def test_a_program_does_not_outlive_a_worker_that_is_killed(tmp_path):
    code = f"""
import pathlib, sys
from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.programs import run_program
folder = pathlib.Path({str(tmp_path)!r})
run_program([sys.executable, "-c", {SLEEPING!r}], folder=folder, log=ItemLog(folder / "log.txt", ""),
            look=lambda: None, n_threads=1)
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    try:
        pids = wait_for_pids(tmp_path)
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert_gone(pids)
