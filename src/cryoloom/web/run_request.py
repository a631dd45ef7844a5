"""Conversion of a form's values to a checked command line of `cryoloom run`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cryoloom.errors import UserInputError
from cryoloom.web.roots import Roots

__all__ = ["RunRequest", "command_of", "defaults_of", "is_path"]


_RUN = r"^\d+(\.[a-z_]+)?$"


class RunRequest(BaseModel):
    """A run, as sent by the form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    input: str | None = Field(None, pattern=_RUN)
    """Number of the input run, or a further output of it such as ``12.particles``."""
    links: dict[str, str] = {}
    items: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    """Values that differ from their defaults."""
    after: int = Field(0, ge=0)
    """Number of a job that must finish first; 0 to start immediately."""


def command_of(request: RunRequest, step: Mapping[str, Any], roots: Roots) -> list[str]:
    """Arguments of `cryoloom` for a run. step : its entry in the catalogue.

    Raises UserInputError for a parameter, role or path that is not allowed.
    """
    properties = step["schema"].get("properties", {})
    if (step["needs"] is None) != (request.input is None):
        raise UserInputError(
            f"{request.step} {'takes no input' if request.input else 'needs the run it works on'}"
        )
    command = ["run", request.step, "--project", "."]
    if request.input is not None:
        command += ["--input", request.input]
    for role, run in request.links.items():
        if role not in step["also_needs"] or not re.match(_RUN, run):
            raise UserInputError(f"{request.step} has no input {role!r} from {run!r}")
        command += [f"--{role.replace('_', '-')}", run]
    for item in request.items:
        command += [f"--item={item}"]
    for name, value in request.parameters.items():
        if name not in properties:
            raise UserInputError(f"{request.step} has no parameter {name!r}")
        if is_path(properties[name]) and value is not None:
            value = str(roots.checked(str(value)))
        command += ["--set", f"{name}={json.dumps(value)}"]
    return command


def is_path(schema: Mapping[str, Any]) -> bool:
    """Whether a parameter is a file or folder."""
    kinds = [schema, *schema.get("anyOf", ())]
    return any(kind.get("format") in {"path", "file-path", "directory-path"} for kind in kinds)


def defaults_of(step: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of all parameters that have one."""
    properties = step["schema"].get("properties", {})
    return {name: schema["default"] for name, schema in properties.items() if "default" in schema}
