"""Declared programs: found, started as the machine's settings say, and refused in one sentence each."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cryoloom.contract.program import Call, Program
from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.program_calls import run_call
from cryoloom.engine.worker.program_errors import first_error, known_failure
from cryoloom.engine.worker.program_finder import find_program, require_program
from cryoloom.engine.worker.program_settings import load_program_settings
from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from makers import stand_ins


def program(**more):
    declared = {
        "name": "Weaver",
        "suite": "Looms",
        "executables": ("weaver9", "weaver"),
        "purpose": "weaves",
        "versions": ("9.9",),
        "citation": "Somebody (2026)",
        "homepage": "https://example.org",
    }
    return Program(**{**declared, **more})


@pytest.fixture
def settings(monkeypatch, tmp_path):
    path = tmp_path / "programs.yaml"
    monkeypatch.setenv("CRYOLOOM_PROGRAMS", str(path))
    path.write_text("{}")
    return path


@pytest.fixture
def run(tmp_path, settings):
    folder = tmp_path / "scratch of an item"
    folder.mkdir()

    def run(call, device="cpu", **more):
        log = ItemLog(tmp_path / "log.txt", "")
        return run_call(call, folder=folder, log=log, look=lambda: None, n_threads=1, device=device, **more)

    run.folder, run.log = folder, tmp_path / "log.txt"
    return run


@pytest.fixture
def weaver(tmp_path, monkeypatch):
    folder = tmp_path / "a bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(body, name="weaver", **more):
        return stand_ins.install(folder, name, body, **more)

    return install


def test_a_call_is_made_and_logged_and_its_version_found(run, weaver):
    place = weaver("""
        print("reads", open("given.txt").read(), sys.stdin.read().split(), ARGUMENTS)
        pathlib.Path("made.txt").write_text("cloth")
    """)
    call = Call(
        program=program(),
        arguments=("-a", "two words"),
        answers=(("How long?", "7"), ("How wide?", "no")),
        files={"given.txt": "wool", "folder/more.txt": "silk"},
        writes=("made.txt",),
    )
    output, found = run(call)
    assert output.text == "reads wool ['7', 'no'] ['-a', 'two words']\n"
    assert (found.version, found.place) == ("9.9.9", str(place))
    assert (run.folder / "folder" / "more.txt").read_text() == "silk"
    log = run.log.read_text()
    assert "How wide?: no" in log
    assert f"Weaver 9.9.9: {place}" in log


def test_old_output_is_not_taken_for_new(run, weaver):
    weaver("print('all threads broke')")
    (run.folder / "made.txt").write_text("of an earlier run")
    with pytest.raises(DataUnfitError, match=r"without writing made\.txt: all threads broke"):
        run(Call(program=program(), writes=("made.txt",)))


def test_an_empty_file_is_no_output(run, weaver):
    weaver("pathlib.Path('made.txt').touch()")
    with pytest.raises(DataUnfitError, match=r"without writing made\.txt: it printed nothing"):
        run(Call(program=program(), writes=("made.txt",)))


def test_the_first_error_of_the_program_is_shown(run, weaver):
    weaver("""
        print("residual error mean 0.3")
        print("ERROR: WEAVER - the loom is not open")
        print("Error: everything that follows from it")
        sys.exit(2)
    """)
    with pytest.raises(DataUnfitError, match="code 2: ERROR: WEAVER - the loom is not open"):
        run(Call(program=program()))


@pytest.mark.parametrize(
    ("line", "kind", "sentence"),
    [
        ("No valid license found for this host", UserInputError, "no licence here"),
        ("License file: not found", UserInputError, "no licence here"),
        ("CUDA error: no CUDA-capable device is detected", UserInputError, "finds no GPU"),
        ("Error: cudaMalloc: GPU 0 is out of memory", TransientError, "GPU's memory is full"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", TransientError, "more memory"),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_what_the_machine_lacks_has_its_own_sentence(run, weaver, line, kind, sentence, code):
    weaver(f"print({line!r}); sys.exit({code})")
    with pytest.raises(kind, match=sentence) as caught:
        run(Call(program=program(), writes=("made.txt",)))
    assert line in str(caught.value)


def test_killed_for_memory(run, weaver):
    weaver("os.kill(os.getpid(), 9)")
    with pytest.raises(TransientError, match=r"Weaver was ended by the machine .*out of memory"):
        run(Call(program=program()))


def test_a_program_that_is_missing(run):
    with pytest.raises(UserInputError, match=r"not found on this machine \(looked for weaver9 or weaver\)"):
        run(Call(program=program()))


def test_a_program_that_is_too_old(run, weaver):
    weaver("", version="3.1.14")
    with pytest.raises(UserInputError, match=r"version 3\.1\.14, expected 3\.2 or later"):
        run(Call(program=program(oldest="3.2")))
    assert require_program(program(oldest="3.1.9")).version == "3.1.14"


def test_no_gpu(run, weaver):
    weaver("print('works')")
    call = Call(program=program(needs_gpu=True))
    with pytest.raises(UserInputError, match="Weaver needs a GPU, and this work was given none"):
        run(call)
    assert run(call, device="cuda:1")[0].text == "works\n"


def test_its_time_is_limited(run, weaver):
    weaver("import time; time.sleep(60)")
    with pytest.raises(TransientError, match=r"Weaver did not end within 0\.3 s"):
        run(Call(program=program(version_arguments=None)), timeout_s=0.3)


def test_a_folder_and_another_name_by_the_settings(run, settings, tmp_path):
    stand_ins.install(tmp_path / "opt", "weaver_cuda12", "print(os.environ['LOOM'])")
    settings.write_text(
        f"suites:\n  looms:\n    folders: [{tmp_path / 'opt'}]\n    executables: {{weaver: weaver_cuda12}}\n"
        "    environment: {LOOM: of oak}\n"
    )
    assert run(Call(program=program()))[0].text == "of oak\n"


def test_a_preamble_makes_the_program_known(run, settings, tmp_path):
    stand_ins.install(tmp_path / "opt", "weaver", "print(ARGUMENTS, os.environ['LOOM'])")
    settings.write_text(
        f"suites:\n  Looms:\n    preamble: |\n      export PATH={tmp_path / 'opt'}:$PATH\n"
        "      export LOOM='of ash'\n"
    )
    output, found = run(Call(program=program(), arguments=("$HOME; echo", "a b")))
    assert output.text == "['$HOME; echo', 'a b'] of ash\n"
    assert found.version == "9.9.9"


def test_a_container(run, settings, tmp_path, weaver):
    """A stand-in for apptainer that starts what it is told in the folder it is told."""
    image = tmp_path / "looms.sif"
    image.touch()
    weaver("print('inside', os.getcwd(), ARGUMENTS)")
    weaver(
        """
        words = list(ARGUMENTS)
        if words.pop(0) != "exec":
            fail("exec expected")
        bound = None
        while words[0].startswith("-"):
            word = words.pop(0)
            if word == "--bind":
                bound = words.pop(0)
            elif word == "--pwd":
                os.chdir(words.pop(0))
            elif word != "--nv":
                fail("unknown option " + word)
        if not words.pop(0).endswith("looms.sif") or bound != os.getcwd():
            fail("image and folder expected")
        os.execvp(words[0], words)
        """,
        name="apptainer",
    )
    settings.write_text(f"suites:\n  Looms:\n    container: {image}\n    container_options: [--nv]\n")
    output, found = run(Call(program=program(), arguments=("a b",)))
    assert output.text == f"inside {run.folder} ['a b']\n"
    assert found.place == str(image)
    image.unlink()
    with pytest.raises(UserInputError, match="there is no container"):
        find_program(program(name="Other"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("suites: {IMOD: {folder: /opt}}", r"suites\.IMOD\.folder"),
        ("suites: {IMOD: {folders: [/a], container: /b.sif}}", "not both"),
        ("suites: [", "cannot be read as YAML"),
    ],
)
def test_wrong_settings_are_explained(settings, text, sentence):
    settings.write_text(text)
    with pytest.raises(UserInputError, match=sentence):
        load_program_settings()


def test_settings_that_are_named_and_missing(settings):
    settings.unlink()
    with pytest.raises(UserInputError, match="is not a file; correct or unset it"):
        load_program_settings()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("error mean 0.3 px\nall well", ""),
        ("Traceback (most recent call last):\n  File x\nValueError: bad box", "ValueError: bad box"),
        ("reading\nCannot open file a.mrc\nERROR: later", "Cannot open file a.mrc"),
        ("in: /a.cpp, line 5\nERROR:\nno input\n", "ERROR: no input"),
    ],
)
def test_lines_that_are_errors(text, found):
    assert first_error(text) == found


def test_usual_output_is_no_failure_of_the_machine(rng):
    text = "\n".join(f"license: GPL-3; residual error {value:.3f}" for value in np.abs(rng.normal(size=5)))
    assert known_failure("Weaver", text) is None
    assert known_failure("cryoCARE", "WARNING: No GPUs found by tensorflow\n") is None
