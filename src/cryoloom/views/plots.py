"""Plotly figures of one series as plain data and layout; drawn by the page when they come into view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoloom.model import Tilt, TiltSeries
from cryoloom.views.alignment_plots import alignment_plots
from cryoloom.views.content import SeriesReport
from cryoloom.views.plot_parts import (
    AXIS,
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
    tilt_angles,
    tilt_labels,
)

__all__ = ["Plot", "plots_of"]


def plots_of(item: SeriesReport) -> dict[str, tuple[Plot, ...]]:
    """Plots by section; a section without data is missing."""
    if item.series is None:
        return {}
    sections: dict[str, tuple[Plot, ...]] = {
        "images": _images(item),
        "motion": _motion(item.series),
        "ctf": (*_defocus(item.series), *_ctf_fits(item)),
        "alignment": (*alignment_plots(item), *_slab(item)),
        "halves": (*_halves(item), *_deconvolution(item), *_training(item)),
    }
    for plot in (plot for plots in sections.values() for plot in plots):
        if plot.layout["xaxis"]["title"]["text"] == TILT:  # one range, so that eyes can go from plot to plot
            plot.layout["xaxis"]["range"] = _tilt_range(item.series)
    return {name: plots for name, plots in sections.items() if plots}


def _tilt_range(series: TiltSeries) -> list[float]:
    angles = series.tilt_deg
    margin = 0.04 * float(angles.max() - angles.min()) + 1.0
    return [round(float(angles.min()) - margin, 1), round(float(angles.max()) + margin, 1)]


def _images(item: SeriesReport) -> tuple[Plot, ...]:
    quality = item.kept("tilt_quality")
    if not isinstance(quality, Mapping) or item.series is None or not quality.get("mean_counts"):
        return ()
    angles, by_index = tilt_angles(item.series), {t.acquisition_index: t for t in item.series.tilts}
    known = [
        (index, mean)
        for index, mean in zip(quality["acquisition_index"], quality["mean_counts"], strict=False)
        if index in by_index and mean is not None
    ]
    traces = []
    for excluded, colour in ((False, BLUE), (True, RED)):
        chosen = [(i, mean) for i, mean in known if by_index[i].is_excluded == excluded]
        if chosen:
            traces.append(
                scatter(
                    [angles[i] for i, _ in chosen],
                    [mean for _, mean in chosen],
                    colour,
                    tilt_labels([by_index[i] for i, _ in chosen]),
                    name="left out" if excluded else "used",
                )
            )
    layout = axes_layout(TILT, "mean counts per pixel", showlegend=len(traces) > 1)
    layout["yaxis"]["rangemode"] = "tozero"
    caption = (
        "Mean brightness of each image. It falls smoothly towards high tilts, where the ice is thicker along "
        "the beam; a sudden drop is a blocked beam or a grid bar."
    )
    return (Plot("Brightness", caption, traces, layout),)


def _motion(series: TiltSeries) -> tuple[Plot, ...]:
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
        "Length of the way the specimen went during each exposure (red: tilt left out). It is "
        "corrected before the frames are summed. The first images of a session and high tilts move most.",
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
        "Way of the specimen from the first frame (0, 0) on, one line per tilt, blue for the first "
        "exposures and orange for the last. Smooth lines are beam-induced motion; zigzag of many Å means "
        "that the frames were too dim to be aligned."
    )
    return Plot("Trajectories", caption, traces, layout)


def _defocus(series: TiltSeries) -> tuple[Plot, ...]:
    tilts = [tilt for tilt in series.tilts if tilt.ctf is not None and not tilt.is_excluded]
    if not tilts:
        return ()
    angles = tilt_angles(series)
    x = [angles[tilt.acquisition_index] for tilt in tilts]
    ctfs = [tilt.ctf for tilt in tilts if tilt.ctf is not None]
    symbols = ["circle-open" if ctf.predicted else "circle" for ctf in ctfs]
    u = scatter(x, [c.defocus_u_angstrom / 1e4 for c in ctfs], BLUE, tilt_labels(tilts), name="U (larger)")
    v = scatter(x, [c.defocus_v_angstrom / 1e4 for c in ctfs], ORANGE, tilt_labels(tilts), name="V (smaller)")
    for trace in (u, v):
        trace["marker"] = {**trace["marker"], "symbol": symbols}
    defocus = Plot(
        "Defocus",
        "Underfocus of each image along its two principal directions; their distance is the astigmatism. "
        "Hollow: no rings seen, predicted from the series. Neighbouring tilts should agree within a few "
        "hundred Å (0.01 µm is 100 Å).",
        [u, v],
        axes_layout(TILT, "underfocus (µm)", showlegend=True),
    )
    fitted = [
        (angle, tilt, ctf) for angle, tilt, ctf in zip(x, tilts, ctfs, strict=True) if not ctf.predicted
    ]
    seen = [(a, t, c.fit_resolution_angstrom) for a, t, c in fitted if c.fit_resolution_angstrom is not None]
    if not seen:
        return (defocus,)
    resolution = scatter(
        [a for a, _, _ in seen], [r for _, _, r in seen], BLUE, tilt_labels([t for _, t, _ in seen])
    )
    layout = axes_layout(TILT, "fit resolution (Å)", shapes=[_threshold(20.0)])
    layout["yaxis"]["rangemode"] = "tozero"
    caption = (
        "Finest detail up to which the rings of the spectrum follow the fitted model: lower is better. It "
        "rises towards high tilts. Above the dashed line (20 Å) the defocus is uncertain."
    )
    return (defocus, Plot("CTF fit resolution", caption, [resolution], layout))


def _threshold(y: float) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": GREY, "width": 1, "dash": "dash"},
    }


def _ctf_fits(item: SeriesReport) -> tuple[Plot, ...]:
    """Spectrum and model at low, middle and high tilt."""
    curves = item.kept("ctf_curves")
    if not isinstance(curves, Sequence) or not curves or item.series is None:
        return ()
    angles = tilt_angles(item.series)
    known = sorted(
        (c for c in curves if c["acquisition_index"] in angles),
        key=lambda c: abs(angles[c["acquisition_index"]]),
    )
    chosen = [known[i] for i in sorted({0, len(known) // 2, len(known) - 1})] if known else []
    traces: list[Trace] = []
    layout = axes_layout(
        "", "", showlegend=True, grid={"rows": 1, "columns": len(chosen), "pattern": "independent"}
    )
    layout["annotations"] = []
    layout["legend"] = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}  # the titles are above
    layout["margin"] |= {"t": 30, "b": 84}
    for panel, curve in enumerate(chosen, 1):
        suffix = "" if panel == 1 else str(panel)
        for name, values, line in _ctf_lines(curve):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": panel == 1,
                    "x": rounded(curve["frequency_per_angstrom"]),
                    "y": rounded(values, 3),
                    "line": line,
                    "hovertemplate": "1/%{x} Å<extra></extra>",
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                }
            )
        layout.setdefault("shapes", []).extend(
            {
                "type": "line",
                "xref": f"x{suffix}",
                "yref": f"y{suffix} domain",
                "x0": float(node),
                "x1": float(node),
                "y0": 0,
                "y1": 1,
                "line": {"color": GREY, "width": 1, "dash": "dot"},
            }
            for node in curve.get("nodes_per_angstrom", ())
        )
        layout[f"xaxis{suffix}"] = {**AXIS, "title": {"text": "frequency (1/Å)", "standoff": 8}}
        layout[f"yaxis{suffix}"] = {**AXIS, "showticklabels": False}
        layout["annotations"].append(
            {
                "text": _panel_title(item.series, curve["acquisition_index"]),
                "xref": f"x{suffix} domain",
                "yref": f"y{suffix} domain",
                "x": 1.0,
                "y": 1.02,
                "xanchor": "right",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 13},
            }
        )
    caption = (
        "Radially averaged spectrum, background removed, and the fitted model at low, middle and high tilt. "
        "Peaks and troughs should coincide; where they stop doing so is the fit resolution. Grey: the "
        "background taken off, logarithm, not to scale. Dotted: nodes, where the thickness cancels the rings."
    )
    return (Plot("CTF fits", caption, traces, layout, height_px=280),) if chosen else ()


def _ctf_lines(curve: Mapping[str, Any]) -> list[tuple[str, list[float], dict[str, Any]]]:
    """Name, values and style of the lines of one panel; the background fills the height of the spectrum."""
    spectrum, model = _numbers(curve["spectrum"]), _numbers(curve["model"])
    lines: list[tuple[str, list[float], dict[str, Any]]] = []
    background = _numbers(curve.get("background", ()))
    if len(background) == len(spectrum) > 0:
        low, high = float(np.nanmin(background)), float(np.nanmax(background))
        bottom, top = float(np.nanmin(spectrum)), float(np.nanmax(spectrum))
        scaled = [bottom + (top - bottom) * (b - low) / max(high - low, 1e-9) for b in background]
        lines.append(("background", scaled, {"color": GREY, "width": 1}))
    lines.append(("spectrum", spectrum, {"color": BLUE, "width": 1.3}))
    lines.append(("model", model, {"color": ORANGE, "width": 1.6}))
    return lines


def _panel_title(series: TiltSeries, acquisition_index: int) -> str:
    angle = f"{tilt_angles(series)[acquisition_index]:.0f}°".replace("-", "\u2212")
    ctf = next(t.ctf for t in series.tilts if t.acquisition_index == acquisition_index)
    return f"tilt {angle}" if ctf is None else f"tilt {angle}, {ctf.defocus_angstrom / 1e4:.2f} µm"


def _slab(item: SeriesReport) -> tuple[Plot, ...]:
    """A slice across the specimen with its surfaces, and the energy across them."""
    found = item.kept("slab")
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
        _line(found["x_angstrom"], found[side], ORANGE) for side in ("lower_angstrom", "upper_angstrom")
    ]
    layout = axes_layout("x (Å)", "z (Å)")
    layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    caption = (
        "Slice across the middle of a small tomogram, the tilt axis towards the reader, filtered to "
        "details of "
        "120 to 600 Å. Between the orange lines lies the specimen as it was found."
    )
    across = axes_layout("distance from the middle (Å)", "part that holds something")
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
            "Part of the small tomogram, across the specimen, that holds more than noise; "
            "orange: the surfaces.",
            [_line(found["depth_angstrom"], found["filled"], BLUE)],
            across,
        ),
    )


def _halves(item: SeriesReport) -> tuple[Plot, ...]:
    """Fourier shell correlation of the half tomograms."""
    curve = item.kept("half_correlation")
    if not isinstance(curve, Mapping) or not curve.get("correlation"):
        return ()
    trace = {
        **scatter(curve["frequency_per_angstrom"], _numbers(curve["correlation"]), BLUE),
        "mode": "lines",
        "line": {"color": BLUE, "width": 1.6},
    }
    layout = axes_layout("frequency (1/Å)", "correlation", shapes=[_threshold(0.143)])
    layout["yaxis"]["range"] = [-0.1, 1.02]
    caption = (
        "Fourier shell correlation of the tomograms from even and from odd frames: how much of each detail "
        "is signal. Dashed: 0.143. It does not see errors of the alignment, which both halves share."
    )
    return (Plot("Half tomograms", caption, [trace], layout),)


def _line(x: Any, y: Any, colour: str, name: str = "") -> Trace:
    return {**scatter(x, y, colour), "mode": "lines", "line": {"color": colour, "width": 1.6}, "name": name}


def _deconvolution(item: SeriesReport) -> tuple[Plot, ...]:
    """The filter a tomogram was deconvolved with, and the transfer function it undoes."""
    curve = item.kept("deconvolution")
    if not isinstance(curve, Mapping) or not curve.get("filter"):
        return ()
    frequency, largest = curve["frequency_per_angstrom"], max(map(abs, curve["filter"])) or 1.0
    traces = [
        _line(frequency, rounded([value / largest for value in curve["filter"]]), BLUE, "filter"),
        _line(frequency, rounded(curve["ctf"]), GREY, "CTF"),
    ]
    layout = axes_layout("frequency (1/Å)", "relative amplitude", showlegend=True)
    caption = (
        "The filter the tomogram was multiplied with, its largest value as 1, and the contrast transfer "
        "function it undoes. Where the filter is near zero, the tomogram shows nothing of that detail."
    )
    return (Plot("Deconvolution", caption, traces, layout),)


def _training(item: SeriesReport) -> tuple[Plot, ...]:
    """Losses of the network a tomogram was denoised with."""
    record = item.kept("training")
    if not isinstance(record, Mapping) or not record.get("validation_loss"):
        return ()
    rounds = list(range(1, len(record["validation_loss"]) + 1))
    nothing = float(record["loss_of_doing_nothing"])
    traces = [
        _line(rounds, rounded(record["training_loss"]), GREY, "boxes it learned from"),
        _line(rounds, rounded(record["validation_loss"]), BLUE, "boxes it never saw"),
    ]
    layout = axes_layout("round of training", "loss", showlegend=True, shapes=[_threshold(nothing)])
    caption = (
        "Mean squared difference between what the network made of one half and the other half. Dashed: doing "
        "nothing. Noise of the other half stays, so half of that is the best there is. The network of the "
        "round with the lowest blue point was used."
    )
    return (Plot("Training of the network", caption, traces, layout),)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]
