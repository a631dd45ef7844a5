"""A workflow with outside programs in place of native steps, if the programs are installed.

Each node of a shipped workflow may name the steps that do its work with programs, as the tutorial of the data
has it. A node whose programs are missing keeps its native step, and the workflow's notes say so.
"""

from __future__ import annotations

from collections.abc import Callable

from cryoloom.contract import find_step
from cryoloom.contract.program import Program
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow, link_of
from cryoloom.errors import UserInputError

__all__ = ["with_programs"]


def with_programs(workflow: Workflow, why_not: Callable[[Program], str]) -> Workflow:
    """Copy of a workflow with programs for each node that names some that can be run here.

    why_not : the reason why a program cannot be run, "" if it can. A replaced node gets the name of its last
    step; a node with a name other than its step's keeps it and the suite is appended. So one project can hold
    both versions.
    """
    if not any(node.programs for node in workflow.steps):
        raise UserInputError(
            f"the workflow {workflow.name} names no programs; exchange its steps in a file of your own "
            "(cryoloom workflow show NAME --yaml), as docs/how-to/use-your-programs.md says"
        )
    renamed: dict[str, str] = {}
    replaced: set[str] = set()
    steps: list[Node] = []
    notes: list[str] = []
    for node in workflow.steps:
        feeds = {role: _followed(source, renamed) for role, source in node.feeds.items()}
        if node.within in replaced:
            renamed[node.name] = feeds[INPUT]
            notes.append(f"{node.name} is left out: {renamed[node.within]} does it too")
            continue
        reasons = _reasons(node, why_not)
        links = {role: source for role, source in feeds.items() if role != INPUT}
        if not node.programs or reasons:
            if reasons:
                named = "" if node.name == node.step else f" ({node.step})"
                notes.append(f"{node.name} stays native{named}: {reasons}")
            steps.append(node.model_copy(update={"input": feeds.get(INPUT), "links": links}))
            continue
        chain = _chain(node, feeds, {one.name for one in steps})
        renamed[node.name] = chain[-1].name
        replaced.add(node.name)
        notes.append(f"{node.name} is done by {' and '.join(one.step for one in chain)}")
        steps += chain
    return Workflow(
        name=f"{workflow.name}_programs",
        description=f"{workflow.description} With outside programs.",
        steps=tuple(steps),
        notes=(*workflow.notes, *notes),
    )


def _followed(source: str, renamed: dict[str, str]) -> str:
    """A source after nodes were replaced; a further output goes along."""
    link = link_of(source)
    if link.run_id is not None or link.node not in renamed:
        return source
    return renamed[link.node] + (f".{link.output}" if link.output else "")


def _reasons(node: Node, why_not: Callable[[Program], str]) -> str:
    """Why a node's programs cannot be run, "" if they can."""
    programs = [program for work in node.programs for program in find_step(work.step).programs]
    return "; ".join(dict.fromkeys(filter(None, map(why_not, programs))))


def _chain(node: Node, feeds: dict[str, str], taken: set[str]) -> list[Node]:
    """Nodes of the steps that do a node's work, each fed by the one before it."""
    made: list[Node] = []
    for place, work in enumerate(node.programs):
        is_last = place == len(node.programs) - 1
        name = work.step
        if is_last and node.name != node.step:
            suite = next((p.suite.lower() for p in find_step(work.step).programs), "programs")
            name = f"{node.name}_{suite}"
        while name in taken:
            name += "_again"
        taken.add(name)
        made.append(
            Node(
                name=name,
                step=work.step,
                input=made[-1].name if made else feeds.get(INPUT),
                links={role: feeds[role] for role in find_step(work.step).also_needs if role in feeds},
                items=node.items,
                parameters=work.parameters,
                comment=node.comment,
            )
        )
    return made
