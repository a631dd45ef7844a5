"""WarpTools needs a GPU, which is one sentence."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.programs.warp.warptools import settings_call
from makers.context import MemoryContext


def test_without_a_gpu():
    call = settings_call("a.settings", "movies", "out", "*.eer", ())
    with pytest.raises(UserInputError, match="WarpTools needs a GPU, and this task has none"):
        MemoryContext(device="cpu").call(call)
