"""Plots of the contrast transfer function: defocus over tilts, and spectra with their fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoloom.contract.figures import Record
from cryoloom.model import TiltSeries
from cryoloom.views.content import SeriesReport
from cryoloom.views.plot_parts import (
    AXIS,
    BLUE,
    GREY,
    ORANGE,
    TILT,
    Plot,
    Trace,
    axes_layout,
    gaps,
    line,
    rounded,
    scatter,
    threshold,
    tilt_angles,
    tilt_labels,
)
from cryoloom.views.tilt_table import is_limited_by_pixels

__all__ = ["defocus_plots", "draw_ctf_curves", "tilt_curve"]


def defocus_plots(item: SeriesReport) -> tuple[Plot, ...]:
    """Defocus of every tilt and the resolution of its fit; empty without CTFs."""
    series = item.series
    if series is None:
        return ()
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
        "Hollow: no rings visible, predicted from the series. Neighbouring tilts should agree within a few "
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
    pixel = None if series.stack is None else series.stack.pixel_size_angstrom
    limited = [
        pixel is not None and is_limited_by_pixels(ctf, pixel)
        for _, _, ctf in fitted
        if ctf.fit_resolution_angstrom is not None
    ]
    labels = [
        label + ("; limited by the pixel size" if at_limit else "")
        for label, at_limit in zip(tilt_labels([t for _, t, _ in seen]), limited, strict=True)
    ]
    resolution = scatter([a for a, _, _ in seen], [r for _, _, r in seen], BLUE, labels)
    resolution["marker"] |= {"symbol": ["diamond-open" if at_limit else "circle" for at_limit in limited]}
    lines = [threshold(20.0)] + ([] if pixel is None else [threshold(2 * pixel)])
    layout = axes_layout(TILT, "fit resolution (Å)", shapes=lines)
    layout["yaxis"]["rangemode"] = "tozero"
    caption = (
        "Finest detail up to which the rings of the spectrum follow the fitted model: lower is better. It "
        "rises towards high tilts. Above the upper dashed line (20 Å) the defocus is uncertain."
    )
    if pixel is not None:
        caption += f" The lower dashed line is twice the pixel size ({2 * pixel:.1f} Å)."
    if any(limited):
        caption += " Hollow diamonds: limited by the pixel size; a smaller pixel would show finer rings."
    return (defocus, Plot("CTF fit resolution", caption, [resolution], layout))


def draw_ctf_curves(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Spectrum and model at low, middle and high tilt."""
    curves = data
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
        for name, values, style in _ctf_lines(curve):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": panel == 1,
                    "x": rounded(curve["frequency_per_angstrom"]),
                    "y": rounded(values, 3),
                    "line": style,
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
        "Peaks and troughs should coincide; the fit resolution is where they stop. Grey: the "
        "removed background, logarithm, not to scale. Dotted: nodes, where the thickness cancels the rings."
    )
    return (Plot("CTF fits", caption, traces, layout, height_px=280, wide=True),) if chosen else ()


def _ctf_lines(curve: Mapping[str, Any]) -> list[tuple[str, list[float], dict[str, Any]]]:
    """Name, values and style of the lines of one panel; the background fills the height of the spectrum."""
    spectrum, model = gaps(curve["spectrum"]), gaps(curve["model"])
    lines: list[tuple[str, list[float], dict[str, Any]]] = []
    background = gaps(curve.get("background", ()))
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


def tilt_curve(item: SeriesReport, acquisition_index: int) -> Plot | None:
    """Spectrum and model of one tilt; None if no fit was stored."""
    curves = item.kept("ctf_curves")
    if not isinstance(curves, Sequence):
        return None
    curve = next((c for c in curves if c["acquisition_index"] == acquisition_index), None)
    if curve is None:
        return None
    traces = [
        {**line(curve["frequency_per_angstrom"], rounded(values, 3), GREY, name), "line": style}
        for name, values, style in _ctf_lines(curve)
        if name != "background"
    ]
    layout = axes_layout("frequency (1/Å)", "")
    layout["yaxis"]["showticklabels"] = False
    layout["margin"] = {"l": 12, "r": 8, "t": 6, "b": 40}
    return Plot("CTF fit", "Spectrum, background removed, and model.", traces, layout, height_px=170)
