"""From a record to its plots or table: `DRAWINGS` by the name that a step declares in ``Record.shows``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from cryoloom.contract.figures import Record
from cryoloom.model import TiltSeries
from cryoloom.views.alignment_plots import (
    alignment_plots,
    draw_alignment_errors,
    draw_local_alignment,
    draw_residuals,
    draw_tilt_axis,
)
from cryoloom.views.content import SeriesReport
from cryoloom.views.ctf_plots import defocus_plots, draw_ctf_curves
from cryoloom.views.data_table import DataTable, data_table
from cryoloom.views.evidence_table import draw_evidence
from cryoloom.views.particle_plots import average_plots, draw_passes, particle_plots
from cryoloom.views.plot_parts import TILT, Plot
from cryoloom.views.tilt_plots import draw_gain_trials, draw_tilt_quality, motion_plots
from cryoloom.views.tomogram_plots import (
    draw_curves,
    draw_deconvolution,
    draw_half_correlation,
    draw_points,
    draw_slab,
    draw_training,
)

__all__ = ["DRAWINGS", "SECTIONS", "Drawing", "Section", "drawn"]

Section = Literal[
    "import", "images", "motion", "ctf", "alignment", "tomogram", "particles", "average", "other"
]
SECTIONS: Mapping[Section, str] = MappingProxyType(
    {
        "import": "Import",
        "images": "Image quality",
        "motion": "Motion",
        "ctf": "Contrast transfer function",
        "alignment": "Alignment",
        "tomogram": "Quality of the tomogram",
        "particles": "Particles",
        "average": "Average",
        "other": "Further records",
    }
)
"""Titles of the sections in the order of the page."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Function that draws a record, and the section in which it is shown."""

    section: Section
    draw: Callable[[SeriesReport, Record, Any], tuple[Plot | DataTable, ...]]
    """From the series, the record's declaration and its data; empty if the data are empty."""


def _draw_table(item: SeriesReport, record: Record, data: Any) -> tuple[DataTable, ...]:
    title = record.name.replace("_", " ")
    return (data_table(title[:1].upper() + title[1:], record.meaning, data),)


DRAWINGS: Mapping[str, Drawing] = MappingProxyType(
    {
        "table": Drawing("other", _draw_table),
        "curves": Drawing("tomogram", draw_curves),
        "evidence": Drawing("import", draw_evidence),
        "gain_trials": Drawing("images", draw_gain_trials),
        "tilt_quality": Drawing("images", draw_tilt_quality),
        "ctf_curves": Drawing("ctf", draw_ctf_curves),
        "alignment_errors": Drawing("alignment", draw_alignment_errors),
        "residuals": Drawing("alignment", draw_residuals),
        "tilt_axis": Drawing("alignment", draw_tilt_axis),
        "local_alignment": Drawing("alignment", draw_local_alignment),
        "slab": Drawing("alignment", draw_slab),
        "points_in_specimen": Drawing("alignment", draw_points),
        "half_correlation": Drawing("tomogram", draw_half_correlation),
        "deconvolution": Drawing("tomogram", draw_deconvolution),
        "training": Drawing("tomogram", draw_training),
        "pass_sections": Drawing("average", draw_passes),
    }
)


def drawn(item: SeriesReport) -> dict[Section, tuple[Plot | DataTable, ...]]:
    """Plots and tables of a series by section, in the order of the page; empty sections are left out.

    Motion, defocus, poses and particles are drawn from the items, independently of the step. If several steps
    have the same record, the last one is shown.
    """
    found: dict[Section, list[Plot | DataTable]] = {section: [] for section in SECTIONS}
    found["motion"] += motion_plots(item)
    found["ctf"] += defocus_plots(item)
    last = {kept.record.name: kept for result in item.results for kept in result.kept}
    for kept in last.values():
        drawing = DRAWINGS.get(kept.record.shows, DRAWINGS["table"])
        # Curves of an average belong to it; there is no tomogram.
        is_of_average = item.average is not None and drawing.section == "tomogram"
        section: Section = "average" if is_of_average else drawing.section
        found[section] += drawing.draw(item, kept.record, kept.data)
    found["alignment"] += alignment_plots(item)
    found["particles"] += particle_plots(item)
    found["average"] += average_plots(item)
    if item.series is not None:
        _share_tilt_range(found, item.series)
    return {section: tuple(shown) for section, shown in found.items() if shown}


def _share_tilt_range(found: Mapping[Section, list[Plot | DataTable]], series: TiltSeries) -> None:
    """One range of tilts in all plots, for comparison."""
    angles = series.tilt_deg
    if not len(angles):
        return
    margin = 0.04 * float(angles.max() - angles.min()) + 1.0
    span = [round(float(angles.min()) - margin, 1), round(float(angles.max()) + margin, 1)]
    for shown in found.values():
        for plot in shown:
            if isinstance(plot, Plot) and plot.layout["xaxis"]["title"]["text"] == TILT:
                plot.layout["xaxis"]["range"] = span
