"""Command-line options made from a step's parameters: nothing about a step is written twice."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
import yaml
from pydantic.fields import FieldInfo

from cryoloom.errors import UserInputError
from cryoloom.steps import Step

__all__ = ["as_options", "parse_settings"]


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
                metavar=_metavar(field),
                show_default=False,
            ),
            annotation=str | None,
        )
        for name, field in step.params.model_fields.items()
    ]


def _help_of(field: FieldInfo) -> str:
    limits = [
        f"{sign} {value}"
        for constraint in field.metadata
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if (value := getattr(constraint, name, None)) is not None
    ]
    default = "" if field.is_required() else f" Default: {field.get_default(call_default_factory=True)}."
    allowed = f" Allowed: {', '.join(limits)}." if limits else ""
    return f"{field.description or ''}{default}{allowed}"


def _metavar(field: FieldInfo) -> str:
    annotation = field.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return text.replace("typing.", "").replace("pathlib.", "").replace("NoneType", "None").upper()[:40]


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
