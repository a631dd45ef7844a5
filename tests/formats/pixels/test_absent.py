"""Pixels whose file is gone."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.absent import AbsentPixels, open_if_present
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc


def test_a_file_that_is_there_is_opened(tmp_path):
    write_mrc(tmp_path / "a.mrc", np.ones((2, 3, 4), np.float32), 1.0)
    opened = open_if_present(tmp_path / "a.mrc")
    assert isinstance(opened, MrcPixels)
    assert opened.shape == (2, 3, 4)


@pytest.mark.parametrize("use", [lambda p: p.shape, lambda p: p.dtype, lambda p: p[0]])
def test_one_that_is_gone_keeps_its_path_and_refuses_the_rest(tmp_path, use):
    gone = open_if_present(tmp_path / "gone.mrc")
    assert isinstance(gone, AbsentPixels)
    assert gone.path == tmp_path / "gone.mrc"
    with pytest.raises(DataUnfitError, match=r"gone.mrc does not exist; .* resume --remake"):
        use(gone)
