"""Vector code is used on the CPU with a tested numba, and never where the user says no."""

from __future__ import annotations

import pytest
import torch

from cryoloom.kernels.vector import support


@pytest.fixture
def asked(monkeypatch):
    def ask(version, setting=""):
        monkeypatch.setattr(support.numba, "__version__", version)
        monkeypatch.setenv("CRYOLOOM_PORTABLE_KERNELS", setting)
        support._is_supported.cache_clear()
        return support.vector_code_fits(torch.zeros(1))

    yield ask
    monkeypatch.undo()
    support._is_supported.cache_clear()


def test_only_tested_versions_of_numba_are_used(asked):
    first, last = support._TESTED_NUMBA
    assert asked(f"{first[0]}.{first[1]}.0")
    assert not asked(f"{first[0]}.{first[1] - 1}.9")
    assert not asked(f"{last[0]}.{last[1]}.0")


def test_the_user_can_choose_the_portable_kernels(asked):
    version = f"{support._TESTED_NUMBA[0][0]}.{support._TESTED_NUMBA[0][1]}.0"
    assert not asked(version, "1")
    assert asked(version, "0")


def test_tensors_elsewhere_do_not_fit():
    assert not support.vector_code_fits(torch.zeros(1, device="meta"))
