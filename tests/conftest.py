"""Fixtures every test may use: random numbers, devices, real data, and a context without an engine."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is imported: its kernels run in Python

from makers.context import MemoryContext

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(2)
    # Starting worker processes takes seconds; tests of executors start their own.
    os.environ.setdefault("CRYOLOOM_EXECUTOR", "threads")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def context(tmp_path: Path) -> MemoryContext:
    return MemoryContext()


@pytest.fixture(scope="session")
def data() -> Path:
    """Real data beside the checkout; tests that need it are skipped with a reason where it is missing."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA
