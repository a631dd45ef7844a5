"""A RELION that is too old is refused, in one sentence."""

from __future__ import annotations

import pytest

from cryoloom.engine.worker.program_finder import require_program
from cryoloom.errors import UserInputError
from cryoloom.programs.relion.relion_programs import RELION_POSTPROCESS, RELION_TOMO_SUBTOMO


def test_relion_4_has_no_such_subtomograms(stand_in):
    stand_in("relion_tomo_subtomo", "", version="4.0.1")
    stand_in("relion_postprocess", "", version="4.0.1")
    with pytest.raises(UserInputError, match=r"is version 4\.0\.1, expected 5\.0 or later; install a newer"):
        require_program(RELION_TOMO_SUBTOMO)
    assert require_program(RELION_POSTPROCESS).version == "4.0.1"
