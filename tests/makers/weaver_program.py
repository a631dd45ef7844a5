"""A declared program, its stand-in, and a place to run it: fixtures of the tests of outside programs."""

from __future__ import annotations

import os

import pytest

from cryoloom.contract.program import Program
from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.program_calls import run_call
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
