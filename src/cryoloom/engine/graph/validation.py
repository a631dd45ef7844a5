"""Validation of parameters against their model, with a message for the user."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cryoloom.errors import UserInputError

__all__ = ["validated"]

Model = TypeVar("Model", bound=BaseModel)


def validated(kind: type[Model], values: Mapping[str, Any], owner: str) -> Model:
    """The model of these values; raises UserInputError with the parameter, its value and what is allowed.

    Several values may be text as it is typed: ``256, 360``, with or without brackets; one may stand alone.
    """
    fields = kind.model_fields
    listed = {
        name: _as_list(value, fields[name]) if name in fields else value for name, value in values.items()
    }
    try:
        return kind.model_validate(listed)
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
            elif problem["type"] == "tuple_type":
                hint = f"expected values such as [1, 2], got {problem['input']!r}"
            else:
                hint = f"{problem['msg']}, got {problem['input']!r}"
            problems.append(f"{owner}.{name}: {hint}")
        raise UserInputError("; ".join(problems)) from error


def _as_list(value: Any, field: FieldInfo) -> Any:
    """A list where a parameter of several values was given as text or as one number."""
    kinds = (field.annotation, *get_args(field.annotation))
    several = next((kind for kind in kinds if get_origin(kind) is tuple), None)
    if several is None or not isinstance(value, str | int | float) or isinstance(value, bool):
        return value
    of = [kind for kind in get_args(several) if kind not in (Ellipsis, NoneType)]
    if not isinstance(value, str):
        return [value]
    if not all(kind in (int, float) for kind in of):
        # Text that a list of names or files may hold: its commas are its own.
        return [value]
    return value.strip().strip("()[]").replace(",", " ").split()
