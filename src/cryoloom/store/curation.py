"""Decisions of a person on a project, checked against its content.

Decisions apply at once; `resume` updates the results that depend on them. Nothing here imports torch.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from cryoloom.errors import UserInputError
from cryoloom.store.connection import connected
from cryoloom.store.decisions import Author, Change, Decision, Decisions

__all__ = ["Curation"]


class Curation:
    """Decisions by one author in one project."""

    def __init__(self, folder: Path, author: Author) -> None:
        self._folder = folder
        self._author = author
        self._decisions = Decisions(folder)

    def decide(self, changes: Iterable[Change], why: str = "") -> tuple[Decision, ...]:
        """Record changes of any kind as one batch; their items are not checked."""
        return self._decisions.decide(changes, self._author, why)

    def exclude(
        self, series: str, acquisition_indices: Iterable[int], why: str = "by hand"
    ) -> tuple[Decision, ...]:
        """Exclude tilts; their pixels and indices stay."""
        return self._on_tilts(series, acquisition_indices, keep=False, why=why)

    def include(
        self, series: str, acquisition_indices: Iterable[int], why: str = "kept by hand"
    ) -> tuple[Decision, ...]:
        """Keep tilts, even if a step would exclude them."""
        return self._on_tilts(series, acquisition_indices, keep=True, why=why)

    def exclude_views(self, views: Mapping[str, Iterable[int]], why: str = "by hand") -> tuple[Decision, ...]:
        """Exclude tilts by view numbers, by series: 1 is the lowest tilt.

        All are decided together, or none.
        """
        changes = []
        for series, wanted in views.items():
            ordered = self._tilts_of(series)
            for view in sorted(set(wanted)):
                if not 1 <= view <= len(ordered):
                    raise UserInputError(
                        f"{series} has no view {view}; expected 1 (the lowest tilt) to {len(ordered)}"
                    )
                changes.append(Change("tilt", series, str(ordered[view - 1]), {"keep": False}))
        if not changes:
            raise UserInputError("no view is named, so there is nothing to exclude")
        return self.decide(changes, why)

    def exclude_series(self, series: str, why: str = "by hand") -> tuple[Decision, ...]:
        """Exclude a whole series from all further steps and from exports."""
        self._require_series(series)
        return self.decide([Change("series", series, "", {"keep": False})], why)

    def include_series(self, series: str, why: str = "kept by hand") -> tuple[Decision, ...]:
        """Include a series again."""
        self._require_series(series)
        return self.decide([Change("series", series, "", {"keep": True})], why)

    def comment(self, item: str, text: str, *, tilt: int | None = None) -> tuple[Decision, ...]:
        """Store a note with a series, a tilt of it, or a run (``run:N``); an empty one removes it."""
        target = ""
        if re.fullmatch(r"run:\d+", item):
            self._require_run(int(item[4:]))
        elif tilt is None:
            self._require_series(item)
        else:
            self._require_tilts(item, {tilt})
            target = str(tilt)
        return self.decide([Change("comment", item, target, text or None)])

    def undo(self, batch: int | None = None, why: str = "") -> tuple[Decision, ...]:
        """Undo a batch by the number of one of its decisions, or the last one of this author."""
        return self._decisions.undo(self._author, batch, why)

    def _on_tilts(self, series: str, indices: Iterable[int], *, keep: bool, why: str) -> tuple[Decision, ...]:
        wanted = set(indices)
        self._require_tilts(series, wanted)
        return self.decide([Change("tilt", series, str(i), {"keep": keep}) for i in sorted(wanted)], why)

    def _require_tilts(self, series: str, wanted: set[int]) -> None:
        known = self._tilts_of(series)
        if unknown := wanted - set(known):
            raise UserInputError(
                f"{series} has no tilt of acquisition index {sorted(unknown)}; "
                f"expected {min(known)} to {max(known)} (0 is the first tilt acquired)"
            )

    def _tilts_of(self, series: str) -> tuple[int, ...]:
        """Acquisition indices of a series, in order of tilt."""
        with connected(self._folder) as connection:
            stored = connection.execute(
                "SELECT value FROM contents JOIN items ON items.id = item_id "
                "WHERE name = ? AND value IS NOT NULL ORDER BY items.id",
                (series,),
            )
            for (packed,) in stored:
                value = json.loads(zlib.decompress(packed))
                if value.get("$type") == "TiltSeries":
                    return tuple(tilt["acquisition_index"] for tilt in value["tilts"])
        self._require_series(series)
        raise UserInputError(
            f"{series} has no tilts yet: it could not be imported; "
            f"see `cryoloom status --project {self._folder}`"
        )

    def _require_series(self, series: str) -> None:
        with connected(self._folder) as connection:
            names = [name for (name,) in connection.execute("SELECT DISTINCT name FROM items ORDER BY name")]
        if series not in names:
            near = get_close_matches(series, names, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"this project has {_listed(names)}"
            raise UserInputError(f"there is no series {series!r}; {hint}")

    def _require_run(self, run_id: int) -> None:
        with connected(self._folder) as connection:
            if connection.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone() is None:
                raise UserInputError(
                    f"there is no run {run_id}; `cryoloom log --project {self._folder}` lists those there are"
                )


def _listed(names: list[str]) -> str:
    """Names in a sentence, at most ten."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) + more) or "none"
