"""How the outside programs of a machine are started: one file for all projects."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.engine.worker.program_settings import (
    SETTINGS_VARIABLE,
    SuiteSettings,
    load_program_settings,
    settings_path,
)
from cryoloom.errors import UserInputError


@pytest.fixture
def written(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "programs.yaml"
        path.write_text(text)
        monkeypatch.setenv(SETTINGS_VARIABLE, str(path))
        return load_program_settings()

    return write


def test_the_file_is_that_of_the_variable_else_of_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv(SETTINGS_VARIABLE, "/etc/programs.yaml")
    assert settings_path() == Path("/etc/programs.yaml")
    monkeypatch.delenv(SETTINGS_VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_path() == tmp_path / "cryoloom" / "programs.yaml"
    assert load_program_settings().suites == {}


def test_suites_are_found_whatever_their_capitals(written):
    settings = written("suites: {imod: {modules: [imod/4.11], environment: {IMOD_DIR: /opt}}}")
    assert settings.of("IMOD").modules == ("imod/4.11",)
    assert settings.of("IMOD").environment == {"IMOD_DIR": "/opt"}
    assert settings.of("RELION") == SuiteSettings()
    assert written("").suites == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suites: {IMOD: {module: [x]}}", "suites.IMOD.module: Extra inputs are not permitted; correct it"),
        ("suites: {IMOD: {container: a.sif, folders: [/x]}}", "give a container or folders, not both"),
        ("container_command: docker", "container_command"),
        ("suites: [", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(written, text, message):
    with pytest.raises(UserInputError, match=message):
        written(text)


def test_a_variable_that_names_no_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "none.yaml"))
    with pytest.raises(UserInputError, match="which is not a file; correct or unset it"):
        load_program_settings()
