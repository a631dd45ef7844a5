"""The reference page of outside programs, made from the declarations of the steps that run them."""

from __future__ import annotations

from cryoloom.cli.parameters import allowed_values, default_text
from cryoloom.contract import Step, all_steps
from cryoloom.contract.program import Program, option_of
from cryoloom.programs.measured import MEASURED

__all__ = ["programs_as_markdown"]

_HEAD = """# Outside programs

Made from the steps' declarations by `cryoloom steps --programs --markdown`; do not edit.
[use-your-programs.md](../how-to/use-your-programs.md) describes how programs are found and started.
[benchmarks.md](../explanation/benchmarks.md) describes the measurements behind the second table.

A parameter without an option is used by cryoloom only; it is not passed to the program.
"""


def programs_as_markdown() -> str:
    """Markdown: a table of programs, then a section for each step that runs some."""
    steps = [step for step in all_steps().values() if step.programs]
    programs: dict[str, Program] = {
        program.name: program
        for program in sorted((p for s in steps for p in s.programs), key=lambda p: (p.suite, p.name))
    }
    table = ["| program | suite | for | versions | executable | GPU |", "|---|---|---|---|---|---|"]
    table += [
        f"| [{program.name}]({program.homepage}) | {program.suite} | {program.purpose} | "
        f"{', '.join(program.versions)} | {', '.join(f'`{name}`' for name in program.executables)} | "
        f"{'needed' if program.needs_gpu else ''} |"
        for program in programs.values()
    ]
    listed = [
        "| step | runs | native step | versions run here | measured difference | what it does |",
        "|---|---|---|---|---|---|",
    ]
    listed += [
        f"| [{step.name}](#{step.name}) | {', '.join(program.name for program in step.programs)} | "
        f"{_native(step)} | {_run_here(step)} | {step.summary} |"
        for step in steps
    ]
    return "\n".join([_HEAD, *table, "", *listed, "", *(_section(step) for step in steps)])


def _run_here(step: Step) -> str:
    """Versions that were run, and how they compare with the native step; two cells."""
    found = MEASURED.get(step.name)
    return "none (stand-in only) | " if found is None else f"{', '.join(found.versions)} | {found.difference}"


def _native(step: Step) -> str:
    return f"[{step.beside}](steps.md#{step.beside})" if step.beside else "none"


def _section(step: Step) -> str:
    needs = step.needs.__name__ if step.needs else "nothing"
    lines = [
        f"## {step.name}",
        "",
        f"Needs {needs}, gives {step.gives.__name__}. Native step: {_native(step)}. Version {step.version}.",
        "",
        step.description,
        "",
        "| parameter | default | option of the program | meaning |",
        "|---|---|---|---|",
    ]
    for name, declared in step.params.model_fields.items():
        program_option, kind = option_of(declared)
        where = f"`{program_option}`" if program_option else ""
        if kind == "computed" and program_option:
            where += " (computed)"
        meaning = " ".join(filter(None, [declared.description, allowed_values(declared)]))
        cells = [f"`{name}`", f"`{default_text(declared)}`", where, meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    if step.figures:
        lines += ["", "| figure | what it means |", "|---|---|"]
        lines += [f"| `{figure.name}` | {figure.title}. {figure.meaning} |" for figure in step.figures]
    return "\n".join([*lines, "", *(f"- {reference}" for reference in step.references()), ""])
