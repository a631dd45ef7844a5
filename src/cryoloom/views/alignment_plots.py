"""Plots of an alignment: errors over tilts, residual vectors of every tilt, evidence of the axis, shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoloom.model import Tilt
from cryoloom.views.content import SeriesReport
from cryoloom.views.plot_parts import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    TILT,
    Plot,
    Trace,
    axes_layout,
    scatter,
    tilt_angles,
    tilt_labels,
)

__all__ = ["alignment_plots"]

VECTOR_SCALE = 20
"""Residuals are drawn so many times too long: angstroms in a field of thousands."""


def alignment_plots(item: SeriesReport) -> tuple[Plot, ...]:
    """Plots of the alignment section; none where no tilt has a pose."""
    series = item.series
    tilts = [tilt for tilt in series.tilts if tilt.pose is not None] if series else []
    if series is None or not tilts:
        return ()
    angles = tilt_angles(series)
    plots = [_errors(item, tilts, angles)]
    vectors, axis = item.kept("residuals"), item.kept("tilt_axis")
    if isinstance(vectors, Mapping) and vectors.get("x_angstrom"):
        plots.append(_vectors(vectors, angles))
    if isinstance(axis, Mapping) and axis.get("circle_deg"):
        plots.append(_axis_evidence(axis))
    plots.append(_shifts(tilts, angles))
    return tuple(plot for plot in plots if plot is not None)


def _errors(item: SeriesReport, tilts: Sequence[Tilt], angles: Mapping[int, float]) -> Plot | None:
    """Residual, and where they were measured the error of left-out points and of the poses, over tilt."""
    record = item.kept("alignment_errors")
    traces: list[Trace] = []
    if isinstance(record, Mapping) and record.get("residual_angstrom"):
        indices = record["acquisition_index"]
        counts = record.get("n_points") or [0] * len(indices)
        for key, name, colour in (
            ("residual_angstrom", "residual", BLUE),
            ("left_out_error_angstrom", "left out", ORANGE),
            ("pose_error_angstrom", "pose, from two halves", GREY),
        ):
            rows = [
                (angles[index], value, f"{name}, acquisition {index}, {count} tracks")
                for index, value, count in zip(indices, record.get(key) or (), counts, strict=False)
                if index in angles and value is not None
            ]
            if rows:
                texts = [text for _, _, text in rows]
                traces.append(
                    scatter([a for a, _, _ in rows], [v for _, v, _ in rows], colour, texts, name=name)
                )
    else:
        labels = tilt_labels(tilts)
        rows = [
            (angles[t.acquisition_index], t.pose.residual_angstrom, label)
            for t, label in zip(tilts, labels, strict=True)
            if t.pose is not None and t.pose.residual_angstrom is not None
        ]
        if rows:
            traces = [
                scatter([a for a, _, _ in rows], [r for _, r, _ in rows], BLUE, [x for _, _, x in rows])
            ]
    if not traces:
        return None
    layout = axes_layout(TILT, "error (Å)", showlegend=len(traces) > 1)
    layout["yaxis"]["rangemode"] = "tozero"
    caption = (
        "Residual: mean distance between where tracks were found in each image and where the geometry "
        "puts them. Left out: the same by a geometry that never saw the track. Pose: how far images of "
        "two geometries differ that share no track. An image that stands out is misaligned or shows "
        "something else."
    )
    return Plot("Alignment error", caption, traces, layout)


def _vectors(record: Mapping[str, Any], angles: Mapping[int, float]) -> Plot:
    """Residual vectors of one tilt at a time, chosen by a slider; red ones do not count."""
    table = {name: np.asarray(values) for name, values in record.items()}
    shown = sorted(set(table["acquisition_index"].tolist()) & set(angles), key=lambda i: angles[i])
    first = min(range(len(shown)), key=lambda k: abs(angles[shown[k]]))
    traces: list[Trace] = []
    for k, index in enumerate(shown):
        rows = table["acquisition_index"] == index
        for counts, colour in ((True, BLUE), (False, RED)):
            part = rows & (table["counts"].astype(bool) == counts)
            x, y = table["x_angstrom"][part], table["y_angstrom"][part]
            dx, dy = table["dx_angstrom"][part], table["dy_angstrom"][part]
            # A line from each track, broken by a gap before the next.
            line_x, line_y = (
                [
                    v
                    for a, d in zip(at, along, strict=True)
                    for v in (float(a), float(a + VECTOR_SCALE * d), None)
                ]
                for at, along in ((x, dx), (y, dy))
            )
            sizes = [
                text for a, b in zip(dx, dy, strict=True) for text in (f"{np.hypot(a, b):.1f} Å", "", "")
            ]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": line_x,
                    "y": line_y,
                    "text": sizes,
                    "hovertemplate": "%{text}<extra></extra>",
                    "line": {"color": colour, "width": 1.4},
                    "marker": {"size": [5, 0, 0] * len(x), "color": colour},
                    "visible": k == first,
                }
            )
    steps = [
        {
            "method": "update",
            "label": f"{angles[index]:.0f}°",
            "args": [{"visible": [k == trace // 2 for trace in range(len(traces))]}],
        }
        for k, index in enumerate(shown)
    ]
    slider = {"active": first, "steps": steps, "currentvalue": {"prefix": "tilt "}, "pad": {"t": 44}}
    layout = axes_layout("x (Å)", "y (Å)", sliders=[slider])
    layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    layout["margin"] = {**layout["margin"], "b": 110}
    caption = (
        "Where the tracks lie in each image and by how much the geometry misses them, drawn "
        f"{VECTOR_SCALE} times too long; red ones were taken for outliers. Arrows that all point one way, or "
        "turn about a point, are an error of that image; arrows that differ from place to place are a "
        "specimen that deforms."
    )
    return Plot("Residual vectors", caption, traces, layout, height_px=520)


def _axis_evidence(record: Mapping[str, Any]) -> Plot:
    """Scores of the axes over half a turn, with the axes that were told and found."""
    centre = float(record.get("by_tracks_deg") or 0.0)
    circle = sorted(
        (_near(float(axis), centre), score)
        for axis, score in zip(record["circle_deg"], record["circle_score"], strict=True)
        if score is not None
    )
    curve: Trace = {
        **scatter([axis for axis, _ in circle], [score for _, score in circle], BLUE),
        "mode": "lines+markers",
        "name": "all axes",
    }
    found = (
        ("told", record.get("told_deg"), RED if record.get("told_is_refuted") else GREY, "dot"),
        ("squeezed neighbours", record.get("by_squeezed_pairs_deg"), ORANGE, "dash"),
        ("common line", record.get("by_common_line_deg"), ORANGE, "dot"),
        ("tracks", record.get("by_tracks_deg"), BLUE, "solid"),
    )
    known = [float(v) for v in record["circle_score"] if v is not None]
    lines: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [_near(float(value), centre)] * 2,
            "y": [min(known), max(known)],
            "name": f"{name} {float(value):.2f}°",
            "line": {"color": colour, "dash": dash, "width": 1.6},
            "hoverinfo": "name",
        }
        for name, value, colour, dash in found
        if value is not None
    ]
    layout = axes_layout("tilt axis (°)", "likeness of neighbours", showlegend=True)
    layout["legend"] |= {"y": 1.02, "yanchor": "bottom"}  # of several lines: it grows upwards
    layout["margin"] |= {"t": 72}
    caption = (
        "How alike neighbouring images look when squeezed across each possible axis. The true axis stands "
        "out; the lines should meet there. Half a turn more is the same to images: it would be the mirrored "
        "specimen."
    )
    return Plot("Tilt axis", caption, [curve, *lines], layout)


def _near(axis_deg: float, centre_deg: float) -> float:
    """The same line within a quarter of a turn of the centre."""
    return centre_deg + (axis_deg - centre_deg + 90.0) % 180.0 - 90.0


def _shifts(tilts: Sequence[Tilt], angles: Mapping[int, float]) -> Plot:
    """Where the specimen's origin lies in each image."""
    poses = [(angles[t.acquisition_index], t.pose, t) for t in tilts if t.pose is not None]
    labels = tilt_labels([t for _, _, t in poses])
    shifts = [
        scatter(
            [a for a, _, _ in poses], [p.shift_xy_angstrom[k] for _, p, _ in poses], colour, labels, name=name
        )
        for k, (name, colour) in enumerate((("x", BLUE), ("y", ORANGE)))
    ]
    caption = (
        "Where the specimen's origin lies in each image, from the image's centre. Smooth trends are the "
        "stage; jumps are refocusing or tracking by the microscope."
    )
    return Plot("Image shifts", caption, shifts, axes_layout(TILT, "shift (Å)", showlegend=True))
