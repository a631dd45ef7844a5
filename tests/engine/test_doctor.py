"""What the doctor says of outside programs."""

from __future__ import annotations

import pytest

from cryoloom.engine.doctor import examine
from makers import stand_ins


@pytest.fixture
def findings(monkeypatch, tmp_path):
    def look(settings):
        path = tmp_path / "programs.yaml"
        path.write_text(settings)
        monkeypatch.setenv("CRYOLOOM_PROGRAMS", str(path))
        return {finding.what: finding for finding in examine()}

    return look


def test_programs_are_found_with_version_purpose_and_steps(findings, tmp_path):
    place = stand_ins.install(tmp_path / "opt", "ctffind", "", version="4.1.14")
    found = findings(f"suites: {{cisTEM: {{folders: [{tmp_path / 'opt'}]}}}}")["CTFFIND"]
    assert found.fit
    assert found.found == f"{place}, 4.1.14 (CTF of every tilt; ctffind_estimate_ctf)"


def test_an_old_program_and_wrong_settings_are_reported(findings, tmp_path):
    stand_ins.install(tmp_path / "opt", "ctffind", "", version="3.5")
    old = findings(f"folders: [{tmp_path / 'opt'}]")["CTFFIND"]
    assert not old.fit
    assert "version 3.5, expected 4.1 or later" in old.found


def test_wrong_settings_are_reported(findings):
    found = findings("suites: {IMOD: {folder: /opt}}")
    assert not found["program settings"].fit
    assert "suites.IMOD.folder" in found["program settings"].found
