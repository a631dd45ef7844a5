"""Plots of a tomogram: the specimen in it, its noise, its filters; and curves of any step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoloom.contract.figures import Record
from cryoloom.views.content import SeriesReport
from cryoloom.views.plot_parts import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    Plot,
    axes_layout,
    gaps,
    line,
    rounded,
    scatter,
    threshold,
)

__all__ = [
    "draw_curves",
    "draw_deconvolution",
    "draw_half_correlation",
    "draw_points",
    "draw_slab",
    "draw_training",
]


def draw_slab(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """A slice across the specimen with its surfaces, and the energy across them."""
    found = data
    if not isinstance(found, Mapping) or not found.get("slice"):
        return ()
    picture = {
        "type": "heatmap",
        "x": list(found["x_angstrom"]),
        "y": list(found["z_angstrom"]),
        "z": list(found["slice"]),
        "colorscale": "Greys",
        "reversescale": True,
        "showscale": False,
        "hoverinfo": "skip",
    }
    surfaces = [
        line(found["x_angstrom"], found[side], ORANGE) for side in ("lower_angstrom", "upper_angstrom")
    ]
    layout = axes_layout("x (Å)", "z (Å)")
    layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    caption = (
        "Slice across the middle of a small tomogram, the tilt axis towards the viewer, filtered to "
        "details of 120 to 600 Å. The specimen as measured lies between the orange lines."
    )
    across = axes_layout("distance from the middle (Å)", "part with features")
    half = float(found["thickness_angstrom"]) / 2
    across["shapes"] = [
        {
            "type": "line",
            "x0": at,
            "x1": at,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": ORANGE, "width": 1},
        }
        for at in (-half, half)
    ]
    return (
        Plot("Slab", caption, [picture, *surfaces], layout, height_px=360),
        Plot(
            "Across the slab",
            "Part of the small tomogram, across the specimen, with features above noise; "
            "orange: the surfaces.",
            [line(found["depth_angstrom"], found["filled"], BLUE)],
            across,
        ),
    )


def draw_half_correlation(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Fourier shell correlation of the half tomograms."""
    curve = data
    if not isinstance(curve, Mapping) or not curve.get("correlation"):
        return ()
    trace = {
        **scatter(curve["frequency_per_angstrom"], gaps(curve["correlation"]), BLUE),
        "mode": "lines",
        "line": {"color": BLUE, "width": 1.6},
    }
    layout = axes_layout("frequency (1/Å)", "correlation", shapes=[threshold(0.143)])
    layout["yaxis"]["range"] = [-0.1, 1.02]
    caption = (
        "Fourier shell correlation of the tomograms from even and from odd frames: how much of each detail "
        "is signal. Dashed: 0.143. Errors of the alignment, which are common to both halves, are not "
        "included."
    )
    return (Plot("Half tomograms", caption, [trace], layout),)


def draw_deconvolution(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """The filter of a deconvolved tomogram, and the CTF it undoes."""
    curve = data
    if not isinstance(curve, Mapping) or not curve.get("filter"):
        return ()
    frequency, largest = curve["frequency_per_angstrom"], max(map(abs, curve["filter"])) or 1.0
    traces = [
        line(frequency, rounded([value / largest for value in curve["filter"]]), BLUE, "filter"),
        line(frequency, rounded(curve["ctf"]), GREY, "CTF"),
    ]
    layout = axes_layout("frequency (1/Å)", "relative amplitude", showlegend=True)
    caption = (
        "The filter the tomogram was multiplied with, scaled to a maximum of 1, and the CTF it undoes. Where "
        "the "
        "filter is near zero, the tomogram shows no detail of that size."
    )
    return (Plot("Deconvolution", caption, traces, layout),)


def draw_training(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Losses of the network a tomogram was denoised with."""
    losses = data
    if not isinstance(losses, Mapping) or not losses.get("validation_loss"):
        return ()
    rounds = list(range(1, len(losses["validation_loss"]) + 1))
    nothing = float(losses["loss_of_doing_nothing"])
    traces = [
        line(rounds, rounded(losses["training_loss"]), GREY, "training boxes"),
        line(rounds, rounded(losses["validation_loss"]), BLUE, "validation boxes"),
    ]
    layout = axes_layout("epoch", "loss", showlegend=True, shapes=[threshold(nothing)])
    caption = (
        "Mean squared difference between the network's output for one half and the other half. Dashed: the "
        "unchanged half. Noise of the other half remains, so half of that is the best possible. The network "
        "of "
        "the epoch with the lowest blue point was used."
    )
    return (Plot("Training of the network", caption, traces, layout),)


def draw_curves(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Curves of any step: ``x_title``, ``y_title``, ``x`` and ``curves``, values by name.

    A plain list is one curve over the place in it.
    """
    if isinstance(data, Sequence) and not isinstance(data, str) and data:
        data = {"x": list(range(1, len(data) + 1)), "curves": {"": data}}
    if not isinstance(data, Mapping) or not data.get("curves"):
        return ()
    colours = (BLUE, ORANGE, GREY, RED)
    traces = [
        line(data["x"], gaps(values), colours[number % len(colours)], name)
        for number, (name, values) in enumerate(data["curves"].items())
    ]
    layout = axes_layout(data.get("x_title", ""), data.get("y_title", ""), showlegend=len(traces) > 1)
    title = record.name.replace("_", " ")
    return (Plot(title[:1].upper() + title[1:], record.meaning, traces, layout),)


def draw_points(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Positions in the specimen viewed along z; the colour is their height."""
    if not isinstance(data, Mapping) or not data.get("xyz_angstrom"):
        return ()
    xyz = np.asarray(data["xyz_angstrom"], dtype=np.float64)
    spots = scatter(xyz[:, 0], xyz[:, 1], BLUE)
    significance = data.get("significance") or [None] * len(xyz)
    spots["text"] = [
        f"z {z:.0f} Å" + ("" if value is None else f", significance {float(value):.1f}")
        for z, value in zip(xyz[:, 2], significance, strict=True)
    ]
    spots["hovertemplate"] = "%{text}<extra></extra>"
    spots["marker"] = {
        "size": 8,
        "color": rounded(xyz[:, 2]),
        "colorscale": "Cividis",
        "showscale": True,
        "colorbar": {"title": {"text": "z (Å)", "side": "top"}, "thickness": 12, "len": 0.9},
    }
    layout = axes_layout("x (Å)", "y (Å)")
    layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    title = record.name.replace("_", " ")
    return (
        Plot(
            f"{title[:1].upper()}{title[1:]} in the specimen",
            f"{record.meaning} Viewed along z; the colour is the height z.",
            [spots],
            layout,
            height_px=360,
        ),
    )
