"""Text for the methods section of a paper, from what was run."""

from __future__ import annotations

from cryoloom.engine.results import current_runs
from cryoloom.steps import find_step
from cryoloom.store.database import Database

__all__ = ["methods_text"]


def methods_text(database: Database) -> str:
    """A paragraph on what was done, with the parameters somebody changed and numbered citations."""
    sentences: list[str] = []
    citations: list[str] = []
    runs = current_runs(database)
    if not runs:
        return "Nothing was run yet."
    for run in runs:
        step = find_step(run.step)
        numbers = []
        for citation in step.citations:
            if citation not in citations:
                citations.append(citation)
            numbers.append(citations.index(citation) + 1)
        defaults = {
            name: field.get_default(call_default_factory=True)
            for name, field in step.params.model_fields.items()
        }
        changed = [
            f"{name} = {value}"
            for name, value in run.parameters.items()
            if name in defaults and not _is_path(value) and value != _plain(defaults[name])
        ]
        cited = f" [{', '.join(map(str, numbers))}]" if numbers else ""
        settings = f" ({', '.join(changed)})" if changed else ""
        sentences.append(f"{step.name}{cited}: {step.summary.rstrip('.')}{settings}.")
    version = runs[-1].environment.get("cryoloom", "")
    n_items = len({item.name for item in database.items(runs[-1].id, with_values=False)})
    text = f"{n_items} tilt series were processed with cryoloom {version}. " + " ".join(sentences)
    return "\n".join([text, "", *(f"[{i}] {citation}" for i, citation in enumerate(citations, 1))])


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _is_path(value: object) -> bool:
    return isinstance(value, str) and "/" in value
