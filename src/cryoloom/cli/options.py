"""Command-line options made from a step's parameters: nothing about a step is written twice."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
import yaml
from pydantic.fields import FieldInfo

from cryoloom.contract import Step
from cryoloom.errors import UserInputError

__all__ = [
    "allowed_values",
    "as_json",
    "as_options",
    "default_text",
    "parse_settings",
    "parse_value",
    "parsed_options",
    "type_text",
]


def as_options(step: Step) -> list[inspect.Parameter]:
    """Keyword parameters with a Typer option each, one for every parameter of the step.

    Values arrive as text and are checked by the step's own model, so that command line, workflow file and
    Python accept the same. An option not given is None and leaves the default.
    """
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(
                None,
                f"--{name.replace('_', '-')}",
                help=_help_of(field),
                metavar=type_text(field).upper()[:40],
                show_default=False,
            ),
            annotation=str | None,
        )
        for name, field in step.params.model_fields.items()
    ]


def _help_of(field: FieldInfo) -> str:
    default = "" if field.is_required() else f"Default: {default_text(field)}."
    return " ".join(filter(None, [field.description, default, allowed_values(field)]))


def allowed_values(field: FieldInfo) -> str:
    """Bounds of a parameter in words, or ""."""
    limits = [
        f"{sign} {value}"
        for constraint in field.metadata
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if (value := getattr(constraint, name, None)) is not None
    ]
    return f"Allowed: {', '.join(limits)}." if limits else ""


def default_text(field: FieldInfo) -> str:
    """Default of a parameter as it would be typed."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "not set")
    return str(list(value)) if isinstance(value, tuple) else str(value)


def type_text(field: FieldInfo) -> str:
    """Type of a parameter in words: number, text, "flip" or "none" ..."""
    annotation = field.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    for python, word in (("typing.", ""), ("pathlib.", ""), (" | None", ""), ("Literal", "one of ")):
        text = text.replace(python, word)
    return {"float": "number", "int": "integer", "str": "text", "bool": "true or false", "Path": "path"}.get(
        text, text
    )


def parse_settings(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``step.parameter=value`` texts as ``{step: {parameter: value}}``; values are read as YAML."""
    parsed: dict[str, dict[str, Any]] = {}
    for text in settings:
        target, equals, value = text.partition("=")
        node, dot, parameter = target.strip().partition(".")
        if not (equals and dot and node and parameter):
            raise UserInputError(f"cannot read --set {text!r}; expected step.parameter=value")
        parsed.setdefault(node, {})[parameter] = parse_value(value)
    return parsed


def parse_value(text: str) -> Any:
    """A value as YAML reads it (numbers, true, [1, 2]), or the text itself."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def parsed_options(options: Mapping[str, str | None]) -> dict[str, Any]:
    """Options that were given, as values."""
    return {name: parse_value(text) for name, text in options.items() if text is not None}


def as_json(data: object) -> str:
    """JSON for scripts: one line."""
    return json.dumps(data, default=str)
