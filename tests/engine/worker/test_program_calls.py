"""Declared programs: found, started as the machine's settings say, and refused in one sentence each."""

from __future__ import annotations

import pytest

from cryoloom.contract.program import Call
from cryoloom.engine.worker.program_settings import load_program_settings
from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from makers.weaver_program import program, run, settings, weaver

__all__ = ["run", "settings", "weaver"]


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


def test_no_gpu(run, weaver):
    weaver("print('works')")
    call = Call(program=program(needs_gpu=True))
    with pytest.raises(UserInputError, match="Weaver needs a GPU, and this task has none"):
        run(call)
    assert run(call, device="cuda:1")[0].text == "works\n"


def test_its_time_is_limited(run, weaver):
    weaver("import time; time.sleep(60)")
    with pytest.raises(TransientError, match=r"Weaver did not end within 0\.3 s"):
        run(Call(program=program(version_arguments=None)), timeout_s=0.3)


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
