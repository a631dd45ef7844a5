"""Bad input, for every program: one clear sentence each, and nothing taken for a result.

The table of docs/how-to/use-your-programs.md, held for each program that a step declares. Stand-ins are shell
scripts: what a program prints and writes decides, not what it computes.
"""

from __future__ import annotations

import shlex

import pytest

from cryoloom.contract import all_steps
from cryoloom.contract.program import Workplace
from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.program_calls import run_call
from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from makers.program_items import BASES, item_of

WORKPLACE = Workplace(n_threads=1, gpu=0)


def calls_by_program():
    """One call of every program, as a step makes it."""
    found = {}
    for name, step in all_steps().items():
        if step.programs:
            params = step.params(**BASES.get(name, [{}])[0])
            for call in step.calls(item_of(step), params, WORKPLACE):
                found.setdefault(call.program.name, call)
    return found


CALLS = calls_by_program()
NAMES = sorted(CALLS)
OF_EACH_SUITE = sorted({CALLS[name].program.suite: name for name in NAMES}.values())
WITH_OLDEST = [name for name in NAMES if CALLS[name].program.oldest]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a program's call with a script in its place, in a folder whose name has spaces."""
    place = tmp_path / "bin of mine"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))  # none of this machine's own programs

    def start(name, script=None, *, version="", before=None):
        call = CALLS[name]
        program = call.program
        folder = tmp_path / "scratch of TS 01" / name
        folder.mkdir(parents=True, exist_ok=True)
        if before is not None:
            before(folder, call)
        if script is not None:
            executable = place / program.executables[0]
            asked = shlex.join(program.version_arguments or ("never asked",))
            answer = f'[ "$*" = "{asked}" ] && echo "{version}" && exit 0'
            executable.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{answer}\n{script}\n")
            executable.chmod(0o755)
            for launcher in call.launcher[:1]:
                # A launcher (mpirun -n 3) starts the program, which is all that matters here.
                (place / launcher).write_text(f"#!/bin/sh\nexec '{executable}'\n")
                (place / launcher).chmod(0o755)
        return run_call(
            call,
            folder=folder,
            log=ItemLog(folder / "log.txt", "test"),
            look=lambda: None,
            n_threads=1,
            device="cuda:0" if program.needs_gpu else "cpu",
        )

    return start


def writing(call, text):
    """Shell lines that write a text into every file that the call must write."""
    return "\n".join(
        f"mkdir -p \"$(dirname '{name}')\"; printf '%s' '{text}' > '{name}'" for name in call.writes
    )


def written_before(folder, call):
    for name in call.writes:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("the result of another day")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_missing(run, name):
    with pytest.raises(UserInputError, match="is not found on this machine") as raised:
        run(name)
    program = CALLS[name].program
    assert program.suite in raised.value.message
    assert program.homepage in raised.value.message
    assert all(executable in raised.value.message for executable in program.executables)


@pytest.mark.parametrize("name", WITH_OLDEST)
def test_its_version_is_too_old(run, name):
    """What RELION and CTFFIND print where they are asked."""
    with pytest.raises(UserInputError, match=r"is version 1\.4, expected .* or later"):
        run(name, "exit 0", version=f"{name} version: 1.4 ")


@pytest.mark.parametrize("name", OF_EACH_SUITE)
def test_it_has_no_licence_or_no_memory_or_says_another_error(run, name):
    with pytest.raises(UserInputError, match="it has no licence here; install one"):
        run(name, "echo 'ERROR: license file not found'; exit 1")
    with pytest.raises(TransientError, match=r"ended by the machine \(SIGKILL\): out of memory"):
        run(name, "kill -9 $$")
    with pytest.raises(DataUnfitError, match=r"ended with code 3: ERROR: image 4 is unreadable"):
        run(name, "echo reading; echo 'ERROR: image 4 is unreadable'; echo 'ERROR: later'; exit 3")


@pytest.mark.parametrize("name", NAMES)
def test_empty_and_old_output_is_not_taken(run, name):
    """An old result in the folder, which the program leaves as it is; then files without a byte."""
    call = CALLS[name]
    with pytest.raises(DataUnfitError, match="without an error code and without writing"):
        run(name, "exit 0", before=written_before)
    with pytest.raises(DataUnfitError, match="without an error code and without writing") as raised:
        run(name, writing(call, ""))
    assert call.writes[0] in raised.value.message


@pytest.mark.parametrize("name", NAMES)
def test_a_path_with_spaces_does_no_harm(run, name):
    call = CALLS[name]
    _, found = run(name, writing(call, "a result"))
    assert "bin of mine" in found.place


@pytest.mark.parametrize("name", [name for name in NAMES if CALLS[name].program.needs_gpu])
def test_no_gpu(tmp_path, name):
    log = ItemLog(tmp_path / "log.txt", "test")
    with pytest.raises(UserInputError, match="needs a GPU, and this task has none; run it on a machine"):
        run_call(CALLS[name], folder=tmp_path, log=log, look=lambda: None, n_threads=1, device="cpu")
