"""Common parts of plots: a plot as plain data for Plotly, its colours, axes, and points with texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoloom.model import Tilt, TiltSeries

__all__ = [
    "AXIS",
    "BLUE",
    "GREY",
    "ORANGE",
    "RED",
    "TILT",
    "Plot",
    "Trace",
    "axes_layout",
    "gaps",
    "line",
    "rounded",
    "scatter",
    "threshold",
    "tilt_angles",
    "tilt_labels",
]

TILT = "tilt (°)"
BLUE, ORANGE, RED, GREY = "#2f6690", "#d17a22", "#b3261e", "#8a929a"
AXIS = {
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
    """A figure with its title and a caption for readers who did not run the processing."""

    title: str
    caption: str
    data: list[Trace]
    layout: dict[str, Any]
    height_px: int = 300
    wide: bool = False
    """Whether it uses the full width of the page."""

    @property
    def figure(self) -> dict[str, Any]:
        """As Plotly's JavaScript takes it."""
        return {"data": self.data, "layout": self.layout}


def axes_layout(x_title: str, y_title: str, **more: Any) -> dict[str, Any]:
    """Axes with titles; ``more`` goes into Plotly's layout as it is."""
    return {
        "xaxis": {**AXIS, "title": {"text": x_title, "standoff": 8}},
        "yaxis": {**AXIS, "title": {"text": y_title, "standoff": 8}},
        "margin": {"l": 62, "r": 16, "t": 12, "b": 48},
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.14},
        "hovermode": "closest",
        **more,
    }


def rounded(values: Sequence[float] | np.ndarray[Any, Any], digits: int = 4) -> list[float | None]:
    """Plain numbers of a few significant digits: they are text on the page. None makes a gap."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def tilt_labels(tilts: Sequence[Tilt]) -> list[str]:
    """Labels of tilts for hovering."""
    return [f"acquisition {tilt.acquisition_index}, nominal {tilt.nominal_tilt_deg:.1f}°" for tilt in tilts]


def scatter(x: Any, y: Any, colour: str, labels: Sequence[str] = (), **more: Any) -> Trace:
    """Points of one colour, each with a text."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(x),
        "y": rounded(y),
        "text": list(labels),
        "hovertemplate": "%{y}<br>%{text}<extra></extra>" if labels else "%{y}<extra></extra>",
        "marker": {"color": colour, "size": 7},
        **more,
    }


def tilt_angles(series: TiltSeries) -> dict[int, float]:
    """Best known tilt of each acquisition index."""
    return dict(
        zip((t.acquisition_index for t in series.tilts), (float(a) for a in series.tilt_deg), strict=True)
    )


def threshold(y: float) -> dict[str, Any]:
    """A dashed line across a plot at a threshold."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": GREY, "width": 1, "dash": "dash"},
    }


def line(x: Any, y: Any, colour: str, name: str = "") -> Trace:
    """A curve."""
    return {**scatter(x, y, colour), "mode": "lines", "line": {"color": colour, "width": 1.6}, "name": name}


def gaps(values: Sequence[float | None]) -> list[float]:
    """Stored numbers, NaN for missing ones."""
    return [float("nan") if value is None else float(value) for value in values]
