"""IMOD's programs as they are declared: one name each, its way of saying errors, one citation."""

from __future__ import annotations

import pytest

from cryoloom.contract.program import Program
from cryoloom.engine.worker.program_errors import first_error
from cryoloom.programs.imod import imod_programs

PROGRAMS = [getattr(imod_programs, name) for name in imod_programs.__all__]


def test_every_program_is_of_the_suite_under_its_own_name():
    assert all(isinstance(program, Program) and program.suite == "IMOD" for program in PROGRAMS)
    names = [program.name for program in PROGRAMS]
    assert len(set(names)) == len(names)
    assert all(program.executables == (program.name,) for program in PROGRAMS)
    assert len({program.citation for program in PROGRAMS}) == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        # As IMOD 4.8.2 says them.
        (" Tiltalign\nERROR: TILTALIGN - OPENING FILE a.fid\n", "ERROR: TILTALIGN - OPENING FILE a.fid"),
        ("ERROR: NEWSTACK - READING IMAGE FILE\nSTOP", "ERROR: NEWSTACK - READING IMAGE FILE"),
        (" Residual error mean and sd:    0.31    0.20\n", ""),  # tiltalign's usual table
        ("WARNING: TILTALIGN - NEARLY ONE-TO-ONE\n", ""),
    ],
)
def test_how_they_say_errors(text, error):
    assert first_error(text, imod_programs.TILTALIGN.errors) == error
