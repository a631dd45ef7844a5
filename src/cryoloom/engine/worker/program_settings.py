"""How the outside programs of this machine are started: one settings file for all projects.

It is ``$CRYOLOOM_PROGRAMS``, else ``~/.config/cryoloom/programs.yaml``; docs/how-to/use-your-programs.md
shows one. Without it programs are looked for on the PATH.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cryoloom.errors import UserInputError

__all__ = ["ProgramSettings", "SuiteSettings", "load_program_settings", "settings_path"]

SETTINGS_VARIABLE = "CRYOLOOM_PROGRAMS"


class SuiteSettings(BaseModel):
    """How the programs of one suite are started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: tuple[Path, ...] = Field((), description="Folders to look in before the PATH.")
    executables: dict[str, str] = Field(
        {}, description="File name of a program if it is not the usual one: AreTomo3: AreTomo3_Cuda12."
    )
    modules: tuple[str, ...] = Field((), description="Environment modules to load first.")
    preamble: str = Field("", description="Shell lines to run first.")
    container: Path | None = Field(None, description="Container image that holds the programs.")
    container_options: tuple[str, ...] = Field((), description="Further options of the container's exec.")
    environment: dict[str, str] = Field({}, description="Environment variables to set.")

    @model_validator(mode="after")
    def _one_way(self) -> SuiteSettings:
        if self.container is not None and self.folders:
            raise ValueError("give a container or folders, not both: folders are not seen in a container")
        return self


class ProgramSettings(BaseModel):
    """All of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: tuple[Path, ...] = Field((), description="Folders to look in before the PATH, for all suites.")
    container_command: Literal["apptainer", "singularity"] = Field(
        "apptainer", description="Program that starts containers."
    )
    suites: dict[str, SuiteSettings] = Field({}, description="By name of the suite: IMOD, RELION, ...")

    def of(self, suite: str) -> SuiteSettings:
        """Settings of a suite; the name's capitals do not matter."""
        named = {name.lower(): settings for name, settings in self.suites.items()}
        return named.get(suite.lower(), SuiteSettings())


def settings_path() -> Path:
    """Path of the settings file, which need not exist."""
    given = os.environ.get(SETTINGS_VARIABLE)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "cryoloom" / "programs.yaml"


def load_program_settings() -> ProgramSettings:
    """Read the settings file; without one nothing is set. Raises UserInputError if it is invalid."""
    path = settings_path()
    if not path.is_file():
        if os.environ.get(SETTINGS_VARIABLE):
            raise UserInputError(
                f"{SETTINGS_VARIABLE} names {path}, which is not a file; correct or unset it"
            )
        return ProgramSettings()
    try:
        return ProgramSettings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserInputError(f"{path}: {place or 'it'}: {first['msg']}; correct it") from error
    except (OSError, yaml.YAMLError) as error:
        raise UserInputError(f"{path} cannot be read as YAML ({error}); correct it") from error
