"""Exclude tilts by hand, as a recorded, repeatable step; optionally write stacks without them.

An exclusion is a mark with a reason: pixels and acquisition indices stay, and it can be undone. With
``restack`` new stacks contain only the tilts that are not excluded: files are smaller, and other programs
cannot use a bad image by mistake. The excluded tilts then have no image; they keep their index, angle, dose
and reason, so nothing is renumbered. Exclude first, and restack when the data leave the project or disk space
is short.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Exclusion, Stack, TiltSeries
from cryoloom.procedures.written_stack import WrittenStack

__all__ = ["ExcludeTiltsParams", "exclude_tilts"]


class ExcludeTiltsParams(StepParams):
    """Tilts to exclude, and what happens to their pixels."""

    tilts: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="Acquisition indices (0 is the first tilt acquired) by series, e.g. {TS_01: [40, 41]}.",
    )
    views: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="Tilts as view numbers: 1 is the lowest tilt, as IMOD counts an ordered stack.",
    )
    reason: str = Field("by hand", description="Reason, stored with the tilts and shown in the report.")
    restack: bool = Field(False, description="Write new stacks without any excluded tilts.")


def _bytes_needed(series: TiltSeries, params: ExcludeTiltsParams) -> int:
    n_y, n_x = series.best_stack.shape_yx if params.restack else (0, 0)
    return 8 * n_y * n_x + (1 << 24)


FIGURES = (
    Figure(
        "n_excluded",
        "tilts",
        "Tilts excluded",
        "Tilts of the series that the following steps do not use, excluded by users or steps.",
    ),
)


@step(
    "exclude_tilts",
    version=2,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    methods="Including those excluded by hand, {total_n_excluded:.0f} tilts were excluded.",
    figures=FIGURES,
)
def exclude_tilts(series: TiltSeries, params: ExcludeTiltsParams, context: StepContext) -> TiltSeries:
    """Exclude the given tilts with a reason; optionally write stacks that contain only the others."""
    marked = series.with_tilts(
        {index: {"exclusion": Exclusion.by_user(params.reason)} for index in _named(series, params)}
    )
    if not marked.included:
        raise DataUnfitError("every tilt of the series is excluded; keep some", series=series.name)
    context.figure("n_excluded", len(marked.tilts) - len(marked.included))
    return _restacked(marked, context) if params.restack else marked


def _named(series: TiltSeries, params: ExcludeTiltsParams) -> set[int]:
    """Acquisition indices that the parameters give for a series."""
    known = {tilt.acquisition_index for tilt in series.tilts}
    indices = set(params.tilts.get(series.name, ()))
    if indices - known:
        raise UserInputError(
            f"{series.name} has no tilt of acquisition index {sorted(indices - known)}; "
            f"expected {min(known)} to {max(known)}"
        )
    views = set(params.views.get(series.name, ()))
    if views and not 1 <= min(views) <= max(views) <= len(series.tilts):
        raise UserInputError(
            f"{series.name} has no view {sorted(views)}; expected 1 (the lowest tilt) to {len(series.tilts)}"
        )
    return indices | {series.tilts[view - 1].acquisition_index for view in views}


def _restacked(series: TiltSeries, context: StepContext) -> TiltSeries:
    """The series with stacks of the tilts that are not excluded, in order of tilt."""
    kept = [tilt for tilt in series.included if tilt.section is not None]
    section_of = {tilt.acquisition_index: i for i, tilt in enumerate(kept)}
    sections = [tilt.section for tilt in kept if tilt.section is not None]
    if not sections:
        raise DataUnfitError("no tilt of the series has an image to stack", series=series.name)
    stack, weighted = (
        None if old is None else _copied(old, sections, prefix, context)
        for old, prefix in ((series.stack, ""), (series.weighted, "weighted_"))
    )
    changes: dict[int, dict[str, Any]] = {
        tilt.acquisition_index: {"section": section_of.get(tilt.acquisition_index)} for tilt in series.tilts
    }
    return replace(series.with_tilts(changes), stack=stack, weighted=weighted)


def _copied(stack: Stack, sections: list[int], prefix: str, context: StepContext) -> Stack:
    """A new stack of these sections, even and odd images too."""
    n_y, n_x = stack.shape_yx
    written = WrittenStack(context, stack, (len(sections), n_y, n_x), stack.pixel_size_angstrom, prefix)
    for role, pixels in stack.present.items():
        for i, section in enumerate(sections):
            written.write(role, i, np.asarray(pixels[section], dtype=np.float32))
            context.progress(i + 1, len(sections))
    return written.finished()
