"""Programs are found as the machine's settings say: by folder, name, preamble or container; or refused."""

from __future__ import annotations

import pytest

from cryoloom.contract.program import Call
from cryoloom.engine.worker.program_finder import find_program, require_program
from cryoloom.errors import UserInputError
from makers import stand_ins
from makers.weaver_program import program, run, settings, weaver

__all__ = ["run", "settings", "weaver"]


def test_a_program_that_is_missing(run):
    with pytest.raises(UserInputError, match=r"not found on this machine \(looked for weaver9 or weaver\)"):
        run(Call(program=program()))


def test_a_program_that_is_too_old(run, weaver):
    weaver("", version="3.1.14")
    with pytest.raises(UserInputError, match=r"version 3\.1\.14, expected 3\.2 or later"):
        run(Call(program=program(oldest="3.2")))
    assert require_program(program(oldest="3.1.9")).version == "3.1.14"


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
    """A stand-in for apptainer that starts the given program in the given folder."""
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
