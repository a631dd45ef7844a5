"""Plots of an alignment: errors over tilts, residual vectors of every tilt, evidence of the axis, shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoloom.contract.figures import Record
from cryoloom.model import Tilt
from cryoloom.views.content import SeriesReport
from cryoloom.views.data_table import DataTable, data_table
from cryoloom.views.plot_parts import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    TILT,
    Plot,
    Trace,
    axes_layout,
    rounded,
    scatter,
    threshold,
    tilt_angles,
    tilt_labels,
)
from cryoloom.views.specimen_height import track_positions

__all__ = [
    "alignment_plots",
    "draw_alignment_errors",
    "draw_local_alignment",
    "draw_residuals",
    "draw_tilt_axis",
]

VECTOR_SCALE = 20
"""Residuals are drawn longer by this factor: angstroms in a field of thousands."""


def alignment_plots(item: SeriesReport) -> tuple[Plot, ...]:
    """Shift of every image; and its residual, unless a record has more. None if no tilt has a pose."""
    series = item.series
    tilts = [tilt for tilt in series.tilts if tilt.pose is not None] if series else []
    if series is None or not tilts:
        return ()
    angles = tilt_angles(series)
    rows = [
        (angles[t.acquisition_index], t.pose.residual_angstrom, label)
        for t, label in zip(tilts, tilt_labels(tilts), strict=True)
        if t.pose is not None and t.pose.residual_angstrom is not None
    ]
    plots = [_shifts(tilts, angles)]
    if rows and item.kept("alignment_errors") is None:
        trace = scatter([a for a, _, _ in rows], [r for _, r, _ in rows], BLUE, [x for _, _, x in rows])
        plots.insert(0, _errors([trace]))
    return tuple(plots)


def draw_alignment_errors(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Residual, error of left-out tracks and error of the pose over tilt."""
    if item.series is None or not isinstance(data, Mapping) or not data.get("residual_angstrom"):
        return ()
    angles = tilt_angles(item.series)
    indices = data["acquisition_index"]
    counts = data.get("n_points") or [0] * len(indices)
    traces: list[Trace] = []
    for key, name, colour in (
        ("residual_angstrom", "residual", BLUE),
        ("left_out_error_angstrom", "left out", ORANGE),
        ("pose_error_angstrom", "pose", GREY),
    ):
        rows = [
            (angles[index], value, f"{name}, acquisition {index}, {count} tracks")
            for index, value, count in zip(indices, data.get(key) or (), counts, strict=False)
            if index in angles and value is not None
        ]
        if rows:
            texts = [text for _, _, text in rows]
            traces.append(scatter([a for a, _, _ in rows], [v for _, v, _ in rows], colour, texts, name=name))
    return (_errors(traces),) if traces else ()


def _errors(traces: list[Trace]) -> Plot:
    layout = axes_layout(TILT, "error (Å)", showlegend=len(traces) > 1)
    layout["yaxis"]["rangemode"] = "tozero"
    caption = (
        "Residual: mean distance between the tracked positions in each image and those of the geometry. "
        "Left out: the same with a geometry solved without the track. Pose: distance of the projections of "
        "two geometries that share no track. An image that stands out is misaligned or shows "
        "something else."
    )
    return Plot("Alignment error", caption, traces, layout)


def draw_residuals(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Residual vectors of every tilt, and the residual of every bead or other track."""
    if item.series is None or not isinstance(data, Mapping) or not data.get("x_angstrom"):
        return ()
    return (_vectors(data, tilt_angles(item.series)), *_tracks(item, data))


def _tracks(item: SeriesReport, data: Mapping[str, Any]) -> tuple[Plot, ...]:
    """Mean residual of each track over its images, by number and by its place in the specimen."""
    series = item.series
    if series is None:
        return ()
    number = np.asarray(data["track"])
    used = np.asarray(data["counts"], dtype=bool)
    distance = np.hypot(np.asarray(data["dx_angstrom"], float), np.asarray(data["dy_angstrom"], float))
    numbers = [int(n) for n in np.unique(number[used])]
    if not numbers:
        return ()
    means = {n: float(distance[used & (number == n)].mean()) for n in numbers}
    seen = {n: int((used & (number == n)).sum()) for n in numbers}
    refused = {n: int((~used & (number == n)).sum()) for n in numbers}
    texts = {
        n: f"track {n}: {means[n]:.1f} Å in {seen[n]} images"
        + (f", {refused[n]} outliers" if refused[n] else "")
        for n in numbers
    }
    points = scatter(numbers, [means[n] for n in numbers], BLUE, [texts[n] for n in numbers])
    points["hovertemplate"] = "%{text}<extra></extra>"
    layout = axes_layout("track", "mean residual (Å)")
    layout["yaxis"]["rangemode"] = "tozero"
    layout["shapes"] = [threshold(float(np.median(list(means.values()))))]
    by_track = Plot(
        "Residual of each track",
        "Mean residual of every bead or other tracked feature over the images in which it is used. Dashed: "
        "the median. A track far above it follows another feature in some of its images.",
        [points],
        layout,
    )
    poses = {t.acquisition_index: t.pose for t in series.tilts if t.pose is not None}
    placed, positions = track_positions(data, poses)
    known = [(k, int(n)) for k, n in enumerate(placed) if int(n) in means]
    if not known:
        return (by_track,)
    xyz = positions[[k for k, _ in known]]
    spots = scatter(xyz[:, 0], xyz[:, 1], BLUE)
    spots["text"] = [
        f"{texts[n]}; z {position[2]:.0f} Å" for (_, n), position in zip(known, xyz, strict=True)
    ]
    spots["hovertemplate"] = "%{text}<extra></extra>"
    spots["marker"] = {
        "size": 9,
        "color": rounded([means[n] for _, n in known]),
        "colorscale": "Cividis",
        "showscale": True,
        "colorbar": {"title": {"text": "Å", "side": "top"}, "thickness": 12, "len": 0.9},
    }
    plan = axes_layout("x (Å)", "y (Å)")
    plan["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    return (
        by_track,
        Plot(
            "Tracks in the specimen",
            "Position of every track in the specimen, viewed along z, coloured by its mean residual. "
            "Residuals "
            "that grow towards one side mean that the specimen deforms there.",
            [spots],
            plan,
            height_px=360,
        ),
    )


def draw_tilt_axis(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Evidence on the direction of the tilt axis."""
    if not isinstance(data, Mapping) or not any(v is not None for v in data.get("circle_score", ())):
        return ()
    return (_axis_evidence(data),)


def draw_local_alignment(item: SeriesReport, record: Record, data: Any) -> tuple[Plot | DataTable, ...]:
    """Size of the local displacement in every tilt where it is used, and what was tried."""
    if item.series is None or not isinstance(data, Mapping):
        return ()
    shown: list[Plot | DataTable] = []
    angles = tilt_angles(item.series)
    rows = [
        (angles[index], value)
        for index, value in zip(
            data.get("acquisition_index", ()), data.get("displacement_angstrom", ()), strict=False
        )
        if index in angles and value is not None
    ]
    if data.get("used") and rows:
        layout = axes_layout(TILT, "rms displacement (Å)")
        layout["yaxis"]["rangemode"] = "tozero"
        caption = "Rms over the field of the displacement that the local alignment adds to each pose."
        shown.append(
            Plot(
                "Local displacement",
                caption,
                [scatter([a for a, _ in rows], [v for _, v in rows], BLUE)],
                layout,
            )
        )
    if data.get("tried"):
        used = "used, as it lowers" if data.get("used") else "not used, as it does not lower"
        caption = (
            f"Local alignments tried, with their cross-validated error; {used} the error of "
            f"{float(data['rigid_angstrom']):.2f} Å where every image is moved as a whole."
        )
        shown.append(data_table("Local alignments tried", caption, data["tried"]))
    return tuple(shown)


def _vectors(record: Mapping[str, Any], angles: Mapping[int, float]) -> Plot:
    """Residual vectors of one tilt at a time, chosen by a slider; red ones are outliers."""
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
        "Positions of the tracks in each image and their residuals, drawn "
        f"{VECTOR_SCALE} times longer; red ones are outliers. Arrows in one direction, or around a point, "
        "are an "
        "error of that image; arrows that differ over the field show a specimen that "
        "deforms."
    )
    return Plot("Residual vectors", caption, traces, layout, height_px=520)


def _axis_evidence(record: Mapping[str, Any]) -> Plot:
    """Scores of the axes over half a turn, with the nominal and measured axes."""
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
        ("given", record.get("told_deg"), RED if record.get("told_is_refuted") else GREY, "dot"),
        ("compressed neighbours", record.get("by_squeezed_pairs_deg"), ORANGE, "dash"),
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
    layout = axes_layout("tilt axis (°)", "similarity of neighbours", showlegend=True)
    layout["legend"] |= {"y": 1.02, "yanchor": "bottom"}  # of several lines: it grows upwards
    layout["margin"] |= {"t": 72}
    caption = (
        "Similarity of neighbouring images when compressed across each possible axis. The true axis stands "
        "out; the lines should meet there. Images cannot distinguish opposite directions: it is the "
        "mirrored specimen."
    )
    return Plot("Tilt axis", caption, [curve, *lines], layout)


def _near(axis_deg: float, centre_deg: float) -> float:
    """The same line within a quarter of a turn of the centre."""
    return centre_deg + (axis_deg - centre_deg + 90.0) % 180.0 - 90.0


def _shifts(tilts: Sequence[Tilt], angles: Mapping[int, float]) -> Plot:
    """Position of the specimen's origin in each image."""
    poses = [(angles[t.acquisition_index], t.pose, t) for t in tilts if t.pose is not None]
    labels = tilt_labels([t for _, _, t in poses])
    shifts = [
        scatter(
            [a for a, _, _ in poses], [p.shift_xy_angstrom[k] for _, p, _ in poses], colour, labels, name=name
        )
        for k, (name, colour) in enumerate((("x", BLUE), ("y", ORANGE)))
    ]
    caption = (
        "Position of the specimen's origin in each image, from the image's centre. Smooth trends are the "
        "stage; jumps are refocusing or tracking by the microscope."
    )
    return Plot("Image shifts", caption, shifts, axes_layout(TILT, "shift (Å)", showlegend=True))
