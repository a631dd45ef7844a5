"""Plots of the images of a series: brightness, shift and blur of every tilt, and the motion in its movie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoloom.contract.figures import Record
from cryoloom.model import Tilt
from cryoloom.views.content import SeriesReport
from cryoloom.views.plot_parts import (
    BLUE,
    GREY,
    RED,
    TILT,
    Plot,
    Trace,
    axes_layout,
    rounded,
    scatter,
    tilt_angles,
    tilt_labels,
)

__all__ = ["draw_gain_trials", "draw_tilt_quality", "motion_plots"]


def draw_tilt_quality(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Brightness of every image; and, if they were measured, its shift and the length of its blur."""
    if not isinstance(data, Mapping) or item.series is None or not data.get("mean_counts"):
        return ()
    brightness = _over_tilts(item, data, "mean_counts", 1.0, "mean counts per pixel")
    plots = [
        Plot(
            "Brightness",
            "Mean brightness of each image. It falls smoothly towards high tilts, where the ice is thicker "
            "along the beam; a sudden drop is a blocked beam or a grid bar.",
            *brightness,
        )
    ]
    if any(value is not None for value in data.get("shift_fraction", ())):
        plots.append(
            Plot(
                "Shift of the images",
                "Shift of each image against its neighbours, in percent of the field. After a large shift "
                "little "
                "of the field is common to the other images.",
                *_over_tilts(item, data, "shift_fraction", 100.0, "shift (% of the field)"),
            )
        )
    if any(value for value in data.get("smear_angstrom", ())):
        plots.append(
            Plot(
                "Blur of the images",
                "Length over which each image is smeared in one direction, compared with its neighbours. "
                "A blur above a few ten Å removes fine detail.",
                *_over_tilts(item, data, "smear_angstrom", 1.0, "length of the blur (Å)"),
            )
        )
    return tuple(plots)


def _over_tilts(
    item: SeriesReport, data: Mapping[str, Any], name: str, factor: float, title: str
) -> tuple[list[Trace], dict[str, Any]]:
    """Traces and layout of one column of the table over the tilt; excluded tilts are red."""
    series = item.series
    if series is None:
        return [], {}
    angles, by_index = tilt_angles(series), {t.acquisition_index: t for t in series.tilts}
    known = [
        (index, factor * value)
        for index, value in zip(data["acquisition_index"], data[name], strict=False)
        if index in by_index and value is not None
    ]
    traces = []
    for excluded, colour in ((False, BLUE), (True, RED)):
        chosen = [(i, value) for i, value in known if by_index[i].is_excluded == excluded]
        if chosen:
            traces.append(
                scatter(
                    [angles[i] for i, _ in chosen],
                    [value for _, value in chosen],
                    colour,
                    tilt_labels([by_index[i] for i, _ in chosen]),
                    name="excluded" if excluded else "used",
                )
            )
    layout = axes_layout(TILT, title, showlegend=len(traces) > 1)
    layout["yaxis"]["rangemode"] = "tozero"
    return traces, layout


def draw_gain_trials(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Remaining variation with the gain reference in each orientation, as bars; the one in use is dark."""
    if not isinstance(data, Mapping) or not data.get("trials"):
        return ()
    names = [_orientation(trial) for trial in data["trials"]]
    values = [float(trial["variation"]) for trial in data["trials"]]
    used = [
        trial["quarter_turns"] == data.get("quarter_turns") and trial["flip"] == data.get("flip")
        for trial in data["trials"]
    ]
    if data.get("variation_without_gain") is not None:
        names.append("without gain reference")
        values.append(float(data["variation_without_gain"]))
        used.append(False)
    order = sorted(range(len(values)), key=lambda i: -values[i])
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "x": rounded([values[i] for i in order]),
        "y": [names[i] for i in order],
        "marker": {"color": [BLUE if used[i] else GREY for i in order]},
        "hovertemplate": "%{x}<extra></extra>",
    }
    layout = axes_layout("variation between neighbouring pixels", "")
    layout["yaxis"]["automargin"] = True
    by = f" In use (blue): {_orientation(data)}, by {data['by']}." if data.get("by") else ""
    return (Plot("Gain reference", record.meaning + by, [bars], layout),)


def _orientation(trial: Mapping[str, Any]) -> str:
    turned = f"turned by {90 * int(trial['quarter_turns'])}°"
    return turned if trial["flip"] == "none" else f"{turned}, flipped {str(trial['flip']).replace('_', ' ')}"


def motion_plots(item: SeriesReport) -> tuple[Plot, ...]:
    """Length of the motion in every tilt, and the paths; empty without frames."""
    series = item.series
    if series is None:
        return ()
    tilts = [tilt for tilt in series.tilts if len(tilt.frame_shifts_yx_angstrom) > 1]
    if not tilts:
        return ()
    angles = tilt_angles(series)
    tracks = [np.array(tilt.frame_shifts_yx_angstrom) for tilt in tilts]
    paths = [float(np.hypot(*np.diff(track, axis=0).T).sum()) for track in tracks]
    lengths = scatter([angles[t.acquisition_index] for t in tilts], paths, BLUE, tilt_labels(tilts))
    lengths["marker"] = {
        **lengths["marker"],
        "color": [RED if tilt.is_excluded else BLUE for tilt in tilts],
    }
    layout = axes_layout(TILT, "path length (Å)")
    layout["yaxis"]["rangemode"] = "tozero"
    total = Plot(
        "Total motion",
        "Length of the path of the specimen during each tilt (red: tilt excluded). It is corrected "
        "before the frames are summed. The first images of a session and high tilts move most.",
        [lengths],
        layout,
    )
    return (total, _trajectories(tilts, tracks))


def _trajectories(tilts: Sequence[Tilt], tracks: Sequence[Any]) -> Plot:
    """Every tilt's track from its first frame, coloured by the order of acquisition."""
    last = max(max(tilt.acquisition_index for tilt in tilts), 1)
    traces = []
    for tilt, track in zip(tilts, tracks, strict=True):
        drift = track - track[0]
        share = tilt.acquisition_index / last
        colour = f"rgb({47 + 162 * share:.0f},{102 + 20 * share:.0f},{144 - 110 * share:.0f})"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": rounded(drift[:, 1]),
                "y": rounded(drift[:, 0]),
                "line": {"color": colour, "width": 1},
                "marker": {"color": colour, "size": 3},
                "opacity": 0.8,
                "hovertemplate": f"{tilt_labels([tilt])[0]}<extra></extra>",
            }
        )
    layout = axes_layout("x (Å)", "y (Å)")
    layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    caption = (
        "Path of the specimen from the first frame (0, 0) on, one line per tilt, blue for the first tilts "
        "and orange for the last. Smooth lines are beam-induced motion; a zigzag of many Å means that the "
        "frames had too little signal to be aligned."
    )
    return Plot("Trajectories", caption, traces, layout)
