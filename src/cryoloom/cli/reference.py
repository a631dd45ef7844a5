"""The reference page of all steps, made from their declarations."""

from __future__ import annotations

from cryoloom.cli.parameters import allowed_values, default_text, type_text
from cryoloom.contract import Figure, Step, all_steps
from cryoloom.contract.step import Gathered, Shared, kind_of

__all__ = ["steps_as_markdown"]

_HEAD = """# Steps

Made from the steps' declarations by `cryoloom steps --markdown`; do not edit. On the command line every
parameter is an option of `cryoloom run STEP` (underscores become dashes) and a
`--set STEP.PARAMETER=VALUE` of `cryoloom process`. Steps that run outside programs are in
[programs.md](programs.md).
"""


def steps_as_markdown() -> str:
    """Markdown with one section a step: what it does, its parameters, its citations."""
    steps = [step for step in all_steps().values() if not step.programs]
    table = ["| step | works on | what it does |", "|---|---|---|"]
    table += [f"| [{s.name}](#{s.name}) | {s.per.replace('_', ' ')} | {s.summary} |" for s in steps]
    return "\n".join([_HEAD, *table, "", *(_section(step) for step in steps)])


def _any_item(kind: str) -> str:
    return "any item" if kind == "object" else kind


def _section(step: Step) -> str:
    needs = _any_item(step.needs.__name__) if step.needs else "nothing"
    if step.gathers:
        needs = f"all items of its input at once ({needs})"
    for role, wanted in step.also_needs.items():
        how = {Shared: "one for all, ", Gathered: "all items of "}.get(type(wanted), "")
        needs += f" and, as `{role}`, {how}{kind_of(wanted).__name__}"
    gives = _any_item(step.gives.__name__)
    gives += "".join(f" and, as `{role}`, {kind.__name__}" for role, kind in step.also_gives.items())
    lines = [
        f"## {step.name}",
        "",
        f"Needs {needs}, gives {gives}. Version {step.version}.",
        "",
    ]
    lines += [step.description, "", "| parameter | type | default | meaning |", "|---|---|---|---|"]
    for name, field in step.params.model_fields.items():
        meaning = " ".join(filter(None, [field.description, allowed_values(field)]))
        cells = [f"`{name}`", type_text(field), f"`{default_text(field)}`", meaning]
        lines.append(_row(*cells))
    if step.figures:
        lines += ["", "| figure | unit | what it means | good |", "|---|---|---|---|"]
        lines += [
            _row(f"`{figure.name}`", figure.unit, f"{figure.title}. {figure.meaning}", _good(figure))
            for figure in step.figures
        ]
    if step.records:
        lines += ["", "| record | what it holds |", "|---|---|"]
        lines += [_row(f"`{record.name}`", record.meaning) for record in step.records]
    if step.citations:
        lines += ["", *(f"- {reference}" for reference in step.references())]
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _good(figure: Figure) -> str:
    """Good values: in words, or the bounds that classify a series."""
    if figure.good or figure.bounds is None:
        return figure.good
    return f"up to {figure.bounds.good_to:g}; poor beyond {figure.bounds.look_to:g}"
