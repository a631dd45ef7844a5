"""Figures over a session: one plot per figure, one point per series in order of acquisition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from cryoloom.contract.figures import Figure
from cryoloom.views.content import SeriesReport
from cryoloom.views.judgement import Light, criteria_of
from cryoloom.views.numbers import unit_symbol
from cryoloom.views.plot_parts import BLUE, GREY, ORANGE, RED, Plot, axes_layout, scatter, threshold

__all__ = ["column_figures", "in_order_of_acquisition", "session_plots"]

LEAST_SERIES, MOST_TICKS = 2, 20
"""Chosen: one series has no course; more ticks overlap."""
_COLOURS: dict[Light, str] = {"good": BLUE, "unknown": BLUE, "look": ORANGE, "poor": RED, "failed": GREY}


def column_figures(items: Sequence[SeriesReport]) -> tuple[Figure, ...]:
    """Figures with a column in the table of all series, in the order of the steps; one per heading."""
    found = {
        one.figure.column.heading: one.figure
        for item in items
        for result in item.results
        for one in result.measured
        if one.figure.column is not None
    }
    return tuple(found.values())


def in_order_of_acquisition(items: Sequence[SeriesReport]) -> list[SeriesReport]:
    """Series by the time of their first tilt; those without a time by name, after the others."""

    def key(item: SeriesReport) -> tuple[bool, float, str]:
        times = [tilt.acquired_at for tilt in item.series.tilts] if item.series is not None else []
        known = [time for time in times if isinstance(time, datetime)]
        return (not known, min(known).timestamp() if known else 0.0, item.name)

    return sorted(items, key=key)


def session_plots(items: Sequence[SeriesReport]) -> tuple[Plot, ...]:
    """Plots of the columns of the table of all series; empty for fewer than two series."""
    ordered = in_order_of_acquisition(items)
    if len(ordered) < LEAST_SERIES:
        return ()
    plots = [_over_session(ordered, "Tilts used", "tilts", "Tilts that are not excluded.", _n_used)]
    plots.append(
        _over_session(
            ordered,
            "Tilt axis",
            "deg",
            "Direction of the tilt axis, median over tilts. It is a property of the microscope: a series "
            "that differs is badly aligned.",
            lambda item: item.axis_deg,
        )
    )
    plots += [_of_figure(ordered, figure) for figure in column_figures(ordered)]
    return tuple(plot for plot in plots if plot is not None)


def _n_used(item: SeriesReport) -> float | None:
    return None if item.series is None else float(len(item.series.included))


def _of_figure(items: Sequence[SeriesReport], figure: Figure) -> Plot | None:
    column = figure.column
    if column is None:
        return None
    heading, divide_by = column.heading, column.divide_by

    def value(item: SeriesReport) -> float | None:
        found = item.measured(lambda other: other.column is not None and other.column.heading == heading)
        return None if found is None or found.value is None else found.value / divide_by

    plot = _over_session(items, figure.title, column.unit or figure.unit, figure.meaning, value)
    if plot is None or figure.bounds is None:
        return plot
    criterion = next(c for c in criteria_of(items) if c.title == figure.title)
    values = [found for item in items if (found := value(item)) is not None]
    plot.data[0]["marker"]["color"] = [_COLOURS[criterion.light(found * divide_by)] for found in values]
    plot.layout["shapes"] = [threshold(figure.bounds.good_to / divide_by)]
    return plot


def _over_session(
    items: Sequence[SeriesReport],
    title: str,
    unit: str,
    meaning: str,
    value: Callable[[SeriesReport], float | None],
) -> Plot | None:
    """Points over the series in order; None if fewer than two have a value."""
    known = [
        (place, item.name, found) for place, item in enumerate(items, 1) if (found := value(item)) is not None
    ]
    if len(known) < LEAST_SERIES:
        return None
    points = scatter([p for p, _, _ in known], [v for _, _, v in known], BLUE, [n for _, n, _ in known])
    symbol = unit_symbol(unit)
    layout = axes_layout("series, in order of acquisition", symbol or title)
    layout["xaxis"] |= {"tickformat": "d", "range": [0.5, len(items) + 0.5]}
    if len(items) <= MOST_TICKS:
        layout["xaxis"]["dtick"] = 1
    return Plot(title, meaning, [points], layout, height_px=220)
