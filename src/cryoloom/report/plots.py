"""Plotly figures of one series as plain data and layout; drawn by the page when they come into view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoloom.model import Tilt, TiltSeries
from cryoloom.report.content import SeriesReport

__all__ = ["Plot", "plots_of"]

_TILT = "tilt (°)"
_BLUE, _ORANGE, _RED, _GREY = "#2f6690", "#d17a22", "#b3261e", "#8a929a"
_AXIS = {
    "gridcolor": "#e8eaed",
    "zerolinecolor": "#d0d4d9",
    "linecolor": "#b8bec5",
    "ticks": "outside",
    "tickcolor": "#b8bec5",
    "ticklen": 4,
}
Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its title and a caption for somebody who did not run the processing."""

    title: str
    caption: str
    data: list[Trace]
    layout: dict[str, Any]
    height_px: int = 300

    @property
    def figure(self) -> dict[str, Any]:
        """As Plotly's JavaScript takes it."""
        return {"data": self.data, "layout": self.layout}


def plots_of(item: SeriesReport) -> dict[str, tuple[Plot, ...]]:
    """Plots by section; a section without data is missing."""
    if item.series is None:
        return {}
    sections: dict[str, tuple[Plot, ...]] = {
        "images": _images(item),
        "motion": _motion(item.series),
        "ctf": (*_defocus(item.series), *_ctf_fits(item)),
        "alignment": _alignment(item),
        "halves": (*_halves(item), *_deconvolution(item), *_training(item)),
    }
    for plot in (plot for plots in sections.values() for plot in plots):
        if plot.layout["xaxis"]["title"]["text"] == _TILT:  # one range, so that eyes can go from plot to plot
            plot.layout["xaxis"]["range"] = _tilt_range(item.series)
    return {name: plots for name, plots in sections.items() if plots}


def _tilt_range(series: TiltSeries) -> list[float]:
    angles = series.tilt_deg
    margin = 0.04 * float(angles.max() - angles.min()) + 1.0
    return [round(float(angles.min()) - margin, 1), round(float(angles.max()) + margin, 1)]


def _layout(x_title: str, y_title: str, **more: Any) -> dict[str, Any]:
    return {
        "xaxis": {**_AXIS, "title": {"text": x_title, "standoff": 8}},
        "yaxis": {**_AXIS, "title": {"text": y_title, "standoff": 8}},
        "margin": {"l": 62, "r": 16, "t": 12, "b": 48},
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.14},
        "hovermode": "closest",
        **more,
    }


def _record(item: SeriesReport, name: str) -> Any:
    """Record of that name, whichever step gave it."""
    for records in item.records.values():
        if name in records:
            return records[name]
    return None


def _rounded(values: Sequence[float] | np.ndarray[Any, Any], digits: int = 4) -> list[float | None]:
    """Plain numbers of a few significant digits: they are text on the page. None is a gap."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def _labels(tilts: Sequence[Tilt]) -> list[str]:
    return [f"acquisition {tilt.acquisition_index}, nominal {tilt.nominal_tilt_deg:.1f}°" for tilt in tilts]


def _points(x: Any, y: Any, colour: str, labels: Sequence[str] = (), **more: Any) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _rounded(x),
        "y": _rounded(y),
        "text": list(labels),
        "hovertemplate": "%{y}<br>%{text}<extra></extra>" if labels else "%{y}<extra></extra>",
        "marker": {"color": colour, "size": 7},
        **more,
    }


def _tilt_angles(series: TiltSeries) -> dict[int, float]:
    return dict(
        zip((t.acquisition_index for t in series.tilts), (float(a) for a in series.tilt_deg), strict=True)
    )


def _images(item: SeriesReport) -> tuple[Plot, ...]:
    quality = _record(item, "tilt_quality")
    if not isinstance(quality, Mapping) or item.series is None or not quality.get("mean_counts"):
        return ()
    angles, by_index = _tilt_angles(item.series), {t.acquisition_index: t for t in item.series.tilts}
    known = [
        (index, mean)
        for index, mean in zip(quality["acquisition_index"], quality["mean_counts"], strict=False)
        if index in by_index and mean is not None
    ]
    traces = []
    for excluded, colour in ((False, _BLUE), (True, _RED)):
        chosen = [(i, mean) for i, mean in known if by_index[i].is_excluded == excluded]
        if chosen:
            traces.append(
                _points(
                    [angles[i] for i, _ in chosen],
                    [mean for _, mean in chosen],
                    colour,
                    _labels([by_index[i] for i, _ in chosen]),
                    name="left out" if excluded else "used",
                )
            )
    layout = _layout(_TILT, "mean counts per pixel", showlegend=len(traces) > 1)
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
    angles = _tilt_angles(series)
    tracks = [np.array(tilt.frame_shifts_yx_angstrom) for tilt in tilts]
    paths = [float(np.hypot(*np.diff(track, axis=0).T).sum()) for track in tracks]
    lengths = _points([angles[t.acquisition_index] for t in tilts], paths, _BLUE, _labels(tilts))
    lengths["marker"] = {
        **lengths["marker"],
        "color": [_RED if tilt.is_excluded else _BLUE for tilt in tilts],
    }
    layout = _layout(_TILT, "path length (Å)")
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
                "x": _rounded(drift[:, 1]),
                "y": _rounded(drift[:, 0]),
                "line": {"color": colour, "width": 1},
                "marker": {"color": colour, "size": 3},
                "opacity": 0.8,
                "hovertemplate": f"{_labels([tilt])[0]}<extra></extra>",
            }
        )
    layout = _layout("x (Å)", "y (Å)")
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
    angles = _tilt_angles(series)
    x = [angles[tilt.acquisition_index] for tilt in tilts]
    ctfs = [tilt.ctf for tilt in tilts if tilt.ctf is not None]
    symbols = ["circle-open" if ctf.predicted else "circle" for ctf in ctfs]
    u = _points(x, [c.defocus_u_angstrom / 1e4 for c in ctfs], _BLUE, _labels(tilts), name="U (larger)")
    v = _points(x, [c.defocus_v_angstrom / 1e4 for c in ctfs], _ORANGE, _labels(tilts), name="V (smaller)")
    for trace in (u, v):
        trace["marker"] = {**trace["marker"], "symbol": symbols}
    defocus = Plot(
        "Defocus",
        "Underfocus of each image along its two principal directions; their distance is the astigmatism. "
        "Hollow: no rings seen, predicted from the series. Neighbouring tilts should agree within a few "
        "hundred Å (0.01 µm is 100 Å).",
        [u, v],
        _layout(_TILT, "underfocus (µm)", showlegend=True),
    )
    fitted = [
        (angle, tilt, ctf) for angle, tilt, ctf in zip(x, tilts, ctfs, strict=True) if not ctf.predicted
    ]
    seen = [(a, t, c.fit_resolution_angstrom) for a, t, c in fitted if c.fit_resolution_angstrom is not None]
    if not seen:
        return (defocus,)
    resolution = _points(
        [a for a, _, _ in seen], [r for _, _, r in seen], _BLUE, _labels([t for _, t, _ in seen])
    )
    layout = _layout(_TILT, "fit resolution (Å)", shapes=[_threshold(20.0)])
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
        "line": {"color": _GREY, "width": 1, "dash": "dash"},
    }


def _ctf_fits(item: SeriesReport) -> tuple[Plot, ...]:
    """Spectrum and model at low, middle and high tilt."""
    curves = _record(item, "ctf_curves")
    if not isinstance(curves, Sequence) or not curves or item.series is None:
        return ()
    angles = _tilt_angles(item.series)
    known = sorted(
        (c for c in curves if c["acquisition_index"] in angles),
        key=lambda c: abs(angles[c["acquisition_index"]]),
    )
    chosen = [known[i] for i in sorted({0, len(known) // 2, len(known) - 1})] if known else []
    traces: list[Trace] = []
    layout = _layout(
        "", "", showlegend=True, grid={"rows": 1, "columns": len(chosen), "pattern": "independent"}
    )
    layout["annotations"] = []
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
                    "x": _rounded(curve["frequency_per_angstrom"]),
                    "y": _rounded(values, 3),
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
                "line": {"color": _GREY, "width": 1, "dash": "dot"},
            }
            for node in curve.get("nodes_per_angstrom", ())
        )
        layout[f"xaxis{suffix}"] = {**_AXIS, "title": {"text": "frequency (1/Å)", "standoff": 8}}
        layout[f"yaxis{suffix}"] = {**_AXIS, "showticklabels": False}
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
        lines.append(("background", scaled, {"color": _GREY, "width": 1}))
    lines.append(("spectrum", spectrum, {"color": _BLUE, "width": 1.3}))
    lines.append(("model", model, {"color": _ORANGE, "width": 1.6}))
    return lines


def _panel_title(series: TiltSeries, acquisition_index: int) -> str:
    angle = f"{_tilt_angles(series)[acquisition_index]:.0f}°".replace("-", "\u2212")
    ctf = next(t.ctf for t in series.tilts if t.acquisition_index == acquisition_index)
    return f"tilt {angle}" if ctf is None else f"tilt {angle}, {ctf.defocus_angstrom / 1e4:.2f} µm"


def _halves(item: SeriesReport) -> tuple[Plot, ...]:
    """Fourier shell correlation of the half tomograms."""
    curve = _record(item, "half_correlation")
    if not isinstance(curve, Mapping) or not curve.get("correlation"):
        return ()
    trace = {
        **_points(curve["frequency_per_angstrom"], _numbers(curve["correlation"]), _BLUE),
        "mode": "lines",
        "line": {"color": _BLUE, "width": 1.6},
    }
    layout = _layout("frequency (1/Å)", "correlation", shapes=[_threshold(0.143)])
    layout["yaxis"]["range"] = [-0.1, 1.02]
    caption = (
        "Fourier shell correlation of the tomograms from even and from odd frames: how much of each detail "
        "is signal. Dashed: 0.143. It does not see errors of the alignment, which both halves share."
    )
    return (Plot("Half tomograms", caption, [trace], layout),)


def _line(x: Any, y: Any, colour: str, name: str = "") -> Trace:
    return {**_points(x, y, colour), "mode": "lines", "line": {"color": colour, "width": 1.6}, "name": name}


def _deconvolution(item: SeriesReport) -> tuple[Plot, ...]:
    """The filter a tomogram was deconvolved with, and the transfer function it undoes."""
    curve = _record(item, "deconvolution")
    if not isinstance(curve, Mapping) or not curve.get("filter"):
        return ()
    frequency, largest = curve["frequency_per_angstrom"], max(map(abs, curve["filter"])) or 1.0
    traces = [
        _line(frequency, _rounded([value / largest for value in curve["filter"]]), _BLUE, "filter"),
        _line(frequency, _rounded(curve["ctf"]), _GREY, "CTF"),
    ]
    layout = _layout("frequency (1/Å)", "relative amplitude", showlegend=True)
    caption = (
        "The filter the tomogram was multiplied with, its largest value as 1, and the contrast transfer "
        "function it undoes. Where the filter is near zero, the tomogram shows nothing of that detail."
    )
    return (Plot("Deconvolution", caption, traces, layout),)


def _training(item: SeriesReport) -> tuple[Plot, ...]:
    """Losses of the network a tomogram was denoised with."""
    record = _record(item, "training")
    if not isinstance(record, Mapping) or not record.get("validation_loss"):
        return ()
    rounds = list(range(1, len(record["validation_loss"]) + 1))
    nothing = float(record["loss_of_doing_nothing"])
    traces = [
        _line(rounds, _rounded(record["training_loss"]), _GREY, "boxes it learned from"),
        _line(rounds, _rounded(record["validation_loss"]), _BLUE, "boxes it never saw"),
    ]
    layout = _layout("round of training", "loss", showlegend=True, shapes=[_threshold(nothing)])
    caption = (
        "Mean squared difference between what the network made of one half and the other half. Dashed: doing "
        "nothing. Noise of the other half stays, so half of that is the best there is. The network of the "
        "round with the lowest blue point was used."
    )
    return (Plot("Training of the network", caption, traces, layout),)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _alignment(item: SeriesReport) -> tuple[Plot, ...]:
    series = item.series
    tilts = [tilt for tilt in series.tilts if tilt.pose is not None] if series else []
    if series is None or not tilts:
        return ()
    angles = _tilt_angles(series)
    plots = []
    record = _record(item, "alignment")
    if isinstance(record, Mapping) and record.get("residual_angstrom"):
        indices = record["acquisition_index"]
        counts = record.get("n_points") or [0] * len(indices)
        rows = [
            (angles[index], residual, f"acquisition {index}, {count} features")
            for index, residual, count in zip(indices, record["residual_angstrom"], counts, strict=False)
            if index in angles and residual is not None
        ]
    else:
        rows = [
            (angles[t.acquisition_index], t.pose.residual_angstrom, label)
            for t, label in zip(tilts, _labels(tilts), strict=True)
            if t.pose is not None and t.pose.residual_angstrom is not None
        ]
    if rows:
        residual = _points(
            [a for a, _, _ in rows], [r for _, r, _ in rows], _BLUE, [text for _, _, text in rows]
        )
        layout = _layout(_TILT, "mean residual (Å)")
        layout["yaxis"]["rangemode"] = "tozero"
        caption = (
            "Mean distance between where features were tracked in each image and where the solved geometry "
            "puts them. An image that stands out is misaligned or shows something else."
        )
        plots.append(Plot("Alignment residual", caption, [residual], layout))
    poses = [(angles[t.acquisition_index], t.pose, t) for t in tilts if t.pose is not None]
    labels = _labels([t for _, _, t in poses])
    shifts = [
        _points(
            [a for a, _, _ in poses], [p.shift_xy_angstrom[k] for _, p, _ in poses], colour, labels, name=name
        )
        for k, (name, colour) in enumerate((("x", _BLUE), ("y", _ORANGE)))
    ]
    caption = (
        "Where the specimen's origin lies in each image, from the image's centre. Smooth trends are the "
        "stage; jumps are refocusing or tracking by the microscope."
    )
    plots.append(Plot("Image shifts", caption, shifts, _layout(_TILT, "shift (Å)", showlegend=True)))
    return tuple(plots)
