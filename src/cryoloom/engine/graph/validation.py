"""Validation of parameters against their model, with a message for the user."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cryoloom.errors import UserInputError

__all__ = ["validated"]

Model = TypeVar("Model", bound=BaseModel)


def validated(kind: type[Model], values: Mapping[str, Any], owner: str) -> Model:
    """The model of these values; raises UserInputError with the parameter, its value and what is allowed."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            name = ".".join(str(part) for part in problem["loc"]) or "parameters"
            if problem["type"] == "extra_forbidden":
                near = difflib.get_close_matches(name, kind.model_fields, n=3)
                known = ", ".join(near or kind.model_fields)
                hint = (
                    f"there is no such parameter; {f'did you mean {known}?' if near else f'known: {known}'}"
                )
            elif problem["type"] == "missing":
                hint = "must be given"
            else:
                hint = f"{problem['msg']}, got {problem['input']!r}"
            problems.append(f"{owner}.{name}: {hint}")
        raise UserInputError("; ".join(problems)) from error
