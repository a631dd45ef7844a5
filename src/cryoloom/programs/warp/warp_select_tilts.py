"""Exclude dark, masked and too steep tilts as WarpTools does at its import (``ts_import``).

Warp is given the images one by one and an mdoc file with their angles and times; tilts that its table lacks
are excluded here. It leaves out what is darker than ``min_intensity`` of the brightest of the ten least
tilted images, times the cosine of the tilt, and everything beyond such a tilt.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import Exclusion, Tilt, TiltSeries
from cryoloom.programs.handover import ProgramParams, make_calls, place_float32, workplace_of
from cryoloom.programs.included_tilts import pixels_of_image
from cryoloom.programs.warp.warptools import WARPTOOLS

__all__ = ["WarpSelectTiltsParams", "calls", "parse", "warp_select_tilts"]

_FRAMES, _MDOC = "warp_frameseries", "mdocs/stack.mdoc"
_START = datetime(2020, 1, 1)
"""Times that keep the order of acquisition; Warp asks for them and keeps only their order."""
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class WarpSelectTiltsParams(ProgramParams):
    """Options of WarpTools' ts_import that leave tilts out."""

    min_intensity: float = option(
        "--min_intensity", 0.3, ge=0, le=1,
        description="Darkest median, as a part of that expected at its tilt; 0 leaves nothing out.",
    )  # fmt: skip
    max_tilt_deg: int = option("--max_tilt", 90, gt=0, le=90, description="Steepest tilt.")
    min_tilts: int = option("--min_ntilts", 1, ge=1, description="Fewest tilts a series must keep.")
    tilt_offset_deg: float | None = option(
        "--tilt_offset", None, ge=-60, le=60, description="Pretilt, taken off the angles before the cosine."
    )


def calls(series: TiltSeries, params: WarpSelectTiltsParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run over the images of the series."""
    axis = series.tilt_axis_deg.applied
    files = {
        f"{_FRAMES}/{_stem(tilt)}.xml": '<?xml version="1.0" encoding="utf-8"?>\n'
        '<Movie UnselectFilter="False" UnselectManual="" MaskPercentage="0"></Movie>\n'
        for tilt in series.tilts
    }
    return (
        Call(
            program=WARPTOOLS,
            arguments=(
                "ts_import", "--mdocs", "mdocs", "--frameseries", _FRAMES, "--output", "tomostar",
                "--tilt_exposure", *text_of(max(series.tilts[0].dose_per_angstrom2, 0.01)),
                "--override_axis", *text_of(0.0 if axis is None else axis), "--dont_invert",
                *arguments_of(params),
            ),
            files={**files, _MDOC: _mdoc(series)},
            writes=("tomostar/stack.tomostar",),
        ),
    )  # fmt: skip


def _mdoc(series: TiltSeries) -> str:
    """Angles, names and times, a section an image."""
    sections = []
    for i, tilt in enumerate(sorted(series.tilts, key=lambda tilt: tilt.acquisition_index)):
        time = _START + timedelta(minutes=i)
        when = f"{time.day:02d}-{_MONTHS[time.month - 1]}-{time.year} {time:%H:%M:%S}"
        sections.append(
            f"[ZValue = {i}]\nTiltAngle = {tilt.nominal_tilt_deg:.4f}\n"
            f"SubFramePath = {_stem(tilt)}.mrc\nDateTime = {when}\n"
        )
    return "\n".join(sections) + "\n"


def _stem(tilt: Tilt) -> str:
    return f"{tilt.acquisition_index:04d}"


def parse(path: Path) -> set[int]:
    """Acquisition indices of the tilts that Warp keeps."""
    rows = next(iter(read_blocks(path).values()))
    try:
        return {int(Path(str(row["wrpMovieName"])).stem) for row in rows}
    except (KeyError, ValueError) as error:
        raise DataUnfitError(
            f"{path.name} names no images as they were given ({error}); expected wrpMovieName"
        ) from error


@step(
    "warp_select_tilts",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: (1 << 29) + 8 * pixels_of_image(series.unweighted_stack),
    gpu="optional",
    methods="Dark and too steep tilts were left out with WarpTools[ ({total_n_excluded:.0f} in all)].",
    figures=(
        Figure(
            "n_excluded",
            "tilts",
            "Tilts excluded",
            "Images that the following steps do not use, those excluded before included.",
        ),
    ),
    programs=(WARPTOOLS,),
    calls=calls,
    beside="select_tilts",
)
def warp_select_tilts(series: TiltSeries, params: WarpSelectTiltsParams, context: StepContext) -> TiltSeries:
    """Exclude dark and too steep tilts as WarpTools does at its import."""
    folder, stack = context.scratch(), series.unweighted_stack
    shown = tuple(tilt for tilt in series.included if tilt.section is not None)
    (folder / _FRAMES / "average").mkdir(parents=True, exist_ok=True)
    for tilt in shown:
        place = folder / _FRAMES / "average" / f"{_stem(tilt)}.mrc"
        place_float32(stack.images, place, stack.pixel_size_angstrom, [tilt.section or 0])
    given = replace(series, tilts=shown)
    make_calls(calls(given, params, workplace_of(context)), params, context)
    kept = parse(folder / "tomostar" / "stack.tomostar")
    dropped = {
        tilt.acquisition_index: {"exclusion": Exclusion.by_step("left out by Warp", "warp_select_tilts")}
        for tilt in shown
        if tilt.acquisition_index not in kept
    }
    selected = series.with_tilts(dropped)
    context.figure("n_excluded", sum(tilt.is_excluded for tilt in selected.tilts))
    return selected
