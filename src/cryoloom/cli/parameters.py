"""Command-line options made from a step's parameters, so that nothing is written twice."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import typer
import yaml
from pydantic.fields import FieldInfo

from cryoloom.errors import UserInputError

if TYPE_CHECKING:
    from cryoloom.contract import Step

__all__ = [
    "Settings",
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

    Values arrive as text and are checked by the step's parameter model, so that command line, workflow file
    and Python accept the same. An option that is not given is None and keeps the default.
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
    default = "" if field.is_required() else f"Default: {default_text(field)}."
    choices = _choices(field)
    listed = f"One of: {', '.join(choices)}." if choices else ""
    return " ".join(filter(None, [field.description, listed, default, allowed_values(field)]))


def _choices(field: FieldInfo) -> tuple[str, ...]:
    """Choices of a parameter that has a fixed set of values."""
    kinds = (field.annotation, *get_args(field.annotation))
    return tuple(str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))


def _metavar(field: FieldInfo) -> str:
    """Placeholder of the value in the list of options."""
    return "WORD" if _choices(field) else type_text(field).upper()[:40]


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
    """Default of a parameter in the form a user types."""
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


@dataclass(frozen=True)
class Settings:
    """Parameters that were given, for all items and for single series."""

    everywhere: Mapping[str, Mapping[str, Any]]
    """``{step: {parameter: value}}``."""
    of_series: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """``{series: {step: {parameter: value}}}``."""


def parse_settings(settings: Sequence[str], file: Path | None = None) -> Settings:
    """Texts ``step.parameter=value`` and ``series:step.parameter=value``; values are read as YAML.

    file : YAML with ``{series: {step: {parameter: value}}}``, for many series; ``settings`` go before it.
    """
    everywhere: dict[str, dict[str, Any]] = {}
    of_series = _series_file(file) if file is not None else {}
    for text in settings:
        target, equals, value = text.partition("=")
        series, colon, target = target.strip().rpartition(":")
        node, dot, parameter = target.partition(".")
        if not (equals and dot and node and parameter) or (colon and not series):
            raise UserInputError(
                f"cannot read --set {text!r}; expected step.parameter=value or series:step.parameter=value"
            )
        given = of_series.setdefault(series, {}) if colon else everywhere
        given.setdefault(node, {})[parameter] = parse_value(value)
    return Settings(everywhere, of_series)


def _series_file(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Parameters of series from a YAML file."""
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserInputError(f"{path} cannot be read: {error}") from error
    fits = isinstance(data, dict) and all(
        isinstance(of_step, dict) and all(isinstance(given, dict) for given in of_step.values())
        for of_step in data.values()
    )
    if not fits:
        raise UserInputError(
            f"{path} is not a table of series; expected lines as TS_01: {{step: {{parameter: value}}}}"
        )
    return {
        str(series): {step: dict(given) for step, given in of_step.items()}
        for series, of_step in data.items()
    }


def parse_value(text: str) -> Any:
    """A value as YAML reads it (numbers, true, [1, 2]), or the text itself; None is unset, as printed."""
    if text.strip() == "None":
        return None
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
