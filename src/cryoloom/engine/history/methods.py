"""Text for the methods section of a paper: sentences of the steps, figures, citations."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cryoloom.algorithms.series.conditions import look_up
from cryoloom.contract.step_facts import StepFacts, step_facts
from cryoloom.engine.history.results import current_runs
from cryoloom.errors import DataUnfitError
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["methods_text"]


def methods_text(database: Reader, run: RunRecord | None = None) -> str:
    """Paragraphs and numbered references: for all current results, or those that led to one run.

    Figures are medians over the items of a run. Parameters other than the defaults are named.
    """
    runs = current_runs(database) if run is None else _ways_to(database, run)
    if not runs:
        return "Nothing was run yet."
    described = [_described(database, each) for each in runs]
    references: list[str] = []
    sentences = [_opening(described)]
    for each in described:
        sentence = each.sentence()
        if sentence:
            sentences.append(_cited(sentence, each.step.references(each.run.parameters), references))
    paragraphs = [" ".join(sentences), _changes(described), _versions(described)]
    numbered = "\n".join(f"[{i}] {reference}" for i, reference in enumerate(references, 1))
    return "\n\n".join(part for part in (*paragraphs, numbered) if part)


def _described(database: Reader, run: RunRecord) -> _DescribedRun:
    step = step_facts(run.step)
    needs_values = step.is_source or step.gives != "TiltSeries"  # for pixel and voxel sizes
    return _DescribedRun(run, step, database.items(run.id, with_values=needs_values, with_parts=False))


def _ways_to(database: Reader, run: RunRecord) -> tuple[RunRecord, ...]:
    """A run and all runs it depends on, the sources first."""
    by_id = {each.id: each for each in database.runs()}
    ordered: dict[int, RunRecord] = {}

    def visit(each: RunRecord) -> None:
        for source in each.input_run_ids:
            if source in by_id and source not in ordered:
                visit(by_id[source])
        ordered[each.id] = each

    visit(run)
    return tuple(ordered.values())


@dataclass(frozen=True, slots=True)
class _DescribedRun:
    """Data of a run for its sentence."""

    run: RunRecord
    step: StepFacts
    items: Sequence[ItemRecord]

    @property
    def done(self) -> list[ItemRecord]:
        return [item for item in self.items if item.state == "done"]

    @property
    def changed(self) -> dict[str, Any]:
        """Parameters that are not the defaults and no paths."""
        changed = {}
        for name, value in self.run.parameters.items():
            if name not in self.step.defaults or _is_path(value):
                continue
            default = self.step.defaults[name]
            if value != (list(default) if isinstance(default, tuple) else default):
                changed[name] = value
        return changed

    def sentence(self) -> str:
        """The step's own sentence with its figures; "" for a source, which the first sentence describes."""
        if self.step.is_source:
            return ""
        if not self.step.methods:
            return self.step.summary
        return _filled(self.step.methods, self._value)

    def _value(self, name: str, *, only_changed: bool) -> Any:
        """A parameter or a figure by name; None if there is no value."""
        if name in ("n_done", "n_all"):
            return len(self.done) if name == "n_done" else len(self.items)
        chosen = self.changed if only_changed else self.run.parameters
        if chosen.get(name) is not None:
            value = chosen[name]
            return value.replace("_", " ") if isinstance(value, str) else value
        if name == "reconstruction":  # a tomogram stores in words how it was made
            return next(
                (item.value["method"] for item in self.done if item.value and "method" in item.value), None
            )
        total = name.removeprefix("total_")
        values = []
        for item in self.done:
            try:
                values.append(look_up(total, {**_facts(item), **item.figures}))
            except DataUnfitError:
                continue
        if not values:
            return None
        return sum(values) if total != name else median(values)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and "/" in value


def _facts(item: ItemRecord) -> dict[str, float]:
    """Sizes that are in the value of an item."""
    voxel = (item.value or {}).get("voxel_size_angstrom")
    return {} if voxel is None else {"voxel_size_angstrom": float(voxel)}


def _filled(template: str, value: Any) -> str:
    """A sentence with its values; text in [ ] is omitted if one of its values is missing.

    Inside [ ] a parameter is treated as missing while it has its default.
    """

    def clause(found: re.Match[str]) -> str:
        return _formatted(found[1], value, only_changed=True) or ""

    filled = _formatted(re.sub(r"\[(.*?)\]", clause, template), value, only_changed=False) or ""
    return "" if filled.strip() in ("", ".") else filled


def _formatted(text: str, value: Any, *, only_changed: bool) -> str | None:
    values = {name: value(name, only_changed=only_changed) for name in _names(text)}
    return None if None in values.values() else text.format(**values)


def _names(text: str) -> Iterator[str]:
    for _, name, _, _ in string.Formatter().parse(text):
        if name is not None:
            yield name


def _cited(sentence: str, citations: Iterable[str], references: list[str]) -> str:
    """A sentence with the numbers of its sources before the full stop; new sources join the list."""
    numbers = []
    for citation in citations:
        if citation not in references:
            references.append(citation)
        numbers.append(references.index(citation) + 1)
    if not numbers:
        return sentence
    return f"{sentence.rstrip('.')} [{', '.join(map(str, sorted(numbers)))}]."


def _opening(described: Sequence[_DescribedRun]) -> str:
    """Number and kind of the series, and their outcome."""
    last, version = described[-1], described[-1].run.environment.get("cryoloom", "")
    sources = [each for each in described if each.step.is_source] or [described[0]]
    series = [item for each in sources for item in each.done]
    first = f"{_count(len(series), 'tilt series', 'tilt series')}{_acquisition(series)} "
    first += f"{'was' if len(series) == 1 else 'were'} processed with cryoloom {version}"
    states = {item.name: item.state for each in described for item in each.items}
    failed = sum(state == "failed" for state in states.values())
    left_out = sum(state == "left_out" for state in states.values())
    fates = [f"{len(last.done)} went through to the end"]
    if failed:
        fates.append(f"{failed} could not be processed")
    if left_out:
        fates.append(f"{left_out} {'was' if left_out == 1 else 'were'} left out")
    return f"{first}; {', '.join(fates)}." if failed or left_out else f"{first}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _acquisition(items: Sequence[ItemRecord]) -> str:
    """Tilts, angles, dose, pixel size and voltage of imported series, in brackets."""
    values = [item.value for item in items if item.value and item.value.get("tilts")]
    if not values:
        return ""
    n_tilts = [len(value["tilts"]) for value in values]
    angles = [tilt["nominal_tilt_deg"] for value in values for tilt in value["tilts"]]
    doses = [max(tilt["dose_end_per_angstrom2"] for tilt in value["tilts"]) for value in values]
    facts = [
        f"{_span(n_tilts, 'd')} tilts",
        f"{min(angles):.0f} to {max(angles):.0f}°",
        *([f"{_span(doses, '.0f')} e/Å² in all"] if max(doses) > 0 else []),
        f"{_span([value['pixel_size_angstrom'] for value in values], '.4g')} Å per pixel",
        f"{_span([value['microscope']['voltage_kv'] for value in values], '.0f')} kV",
    ]
    return f" ({', '.join(facts)})"


def _span(numbers: Sequence[float], form: str) -> str:
    low, high = format(min(numbers), form), format(max(numbers), form)
    return low if low == high else f"{low} to {high}"


def _changes(described: Sequence[_DescribedRun]) -> str:
    """Every parameter that differs from its default."""
    steps = [
        f"{each.run.node}: {', '.join(f'{name} = {_plain(value)}' for name, value in each.changed.items())}"
        for each in described
        if each.changed
    ]
    return f"Parameters other than the defaults were: {'; '.join(steps)}." if steps else ""


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _versions(described: Sequence[_DescribedRun]) -> str:
    """Programs and devices."""
    environment: Mapping[str, Any] = described[-1].run.environment
    if "python" not in environment:
        return ""
    libraries = environment.get("libraries", {})
    with_libraries = ", ".join(
        f"{name} {libraries[name]}" for name in ("numpy", "torch") if name in libraries
    )
    devices = sorted({item.device for each in described for item in each.done})
    gpus = sorted(set(environment.get("gpus", ()))) if any("cuda" in device for device in devices) else []
    program = f"cryoloom {environment.get('cryoloom')} ran on Python {environment['python']}"
    return f"{program} with {with_libraries}, on {', '.join(gpus or devices)}."
