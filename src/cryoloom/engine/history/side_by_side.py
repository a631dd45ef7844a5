"""Which runs of outside programs stand next to which native runs in a project."""

from __future__ import annotations

from collections.abc import Sequence

from cryoloom.contract.step_facts import step_facts
from cryoloom.engine.history.results import by_activity
from cryoloom.engine.history.runs import Comparison, compare_runs
from cryoloom.store.reading import Reader
from cryoloom.store.records import RunRecord

__all__ = ["compared_programs", "program_pairs"]


def program_pairs(reader: Reader) -> tuple[tuple[RunRecord, RunRecord], ...]:
    """Native run and program run of every program step whose native counterpart was run too.

    Of several runs with the same name, the one processed last counts. A program run is paired with the native
    run that its name comes from (``align_by_beads_imod``: ``align_by_beads``), else with one that had the
    same input, else with the one processed last. Runs without a finished item are not paired.
    """
    counts = reader.count_states()
    latest = {run.node: run for run in by_activity(reader.runs()) if counts.get(run.id, {}).get("done")}
    pairs = []
    for run in latest.values():
        native = _native_of(run, tuple(latest.values()))
        if native is not None:
            pairs.append((native, run))
    return tuple(sorted(pairs, key=lambda pair: pair[1].id))


def compared_programs(reader: Reader) -> tuple[Comparison, ...]:
    """Comparison of each pair of `program_pairs`, in the order of the program runs."""
    return tuple(compare_runs(reader, native, run) for native, run in program_pairs(reader))


def _native_of(run: RunRecord, runs: Sequence[RunRecord]) -> RunRecord | None:
    """The native run that a program run replaces; None if there is none."""
    native_step = step_facts(run.step).beside
    found = [other for other in runs if native_step and other.step == native_step]
    named = [other for other in found if run.node.startswith(f"{other.node}_")]
    fed_alike = [other for other in found if other.input_run_id == run.input_run_id]
    for candidates in (named, fed_alike, found):
        if candidates:
            return candidates[-1]
    return None
