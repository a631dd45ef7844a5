"""A folder of stand-ins on the PATH, and nobody's own settings."""

from __future__ import annotations

import os

import pytest

from makers import stand_ins


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no settings"))
    monkeypatch.delenv("CRYOLOOM_PROGRAMS", raising=False)


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(name, body, **more):
        return stand_ins.install(folder, name, body, **more)

    return install
