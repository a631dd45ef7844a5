"""A program ends with the process that started it, and so do those it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from cryoloom.engine.worker import supervise


def start(tmp_path, *command):
    (tmp_path / "answers").write_bytes(b"1.35\n300\n")
    return subprocess.Popen(
        [sys.executable, supervise.__file__, str(tmp_path / "answers"), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def exit_code(supervisor):
    """With the pipe open, as the calling process holds it."""
    return supervisor.wait(timeout=20)


def test_the_program_reads_its_answers_and_its_exit_code_is_handed_on(tmp_path):
    with start(tmp_path, "sh", "-c", "cat; exit 7") as supervisor:
        assert exit_code(supervisor) == 7
        assert supervisor.stdout.read() == "1.35\n300\n"


def test_a_signal_is_reported_as_a_shell_does(tmp_path):
    with start(tmp_path, "sh", "-c", "kill -11 $$") as supervisor:
        assert exit_code(supervisor) == 128 + 11


def test_a_program_that_cannot_be_started(tmp_path):
    with start(tmp_path, str(tmp_path / "none")) as supervisor:
        assert exit_code(supervisor) == 126
        assert "cannot be started: No such file" in supervisor.stderr.read()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc")
def test_everything_ends_when_the_caller_is_gone(tmp_path):
    script = f"sleep 60 & echo $! > {tmp_path}/child; echo $$; wait"
    supervisor = start(tmp_path, "sh", "-c", script)
    program = int(supervisor.stdout.readline())
    child = int((tmp_path / "child").read_text())
    supervisor.stdin.close()  # as if the caller had died
    supervisor.wait(timeout=20)
    supervisor.stdout.close()
    supervisor.stderr.close()
    deadline = time.monotonic() + 5
    while (is_alive(program) or is_alive(child)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(program)
    assert not is_alive(child)
