"""The report: one HTML file with everything in it, to be read by somebody who did not run the processing."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from cryoloom.contract.figures import Column, Figure
from cryoloom.errors import CryoloomError, TransientError
from cryoloom.model import TiltSeries
from cryoloom.views.aligned_loop import aligned_loop
from cryoloom.views.content import ReportContent, SeriesReport
from cryoloom.views.data_table import DataTable
from cryoloom.views.drawings import SECTIONS, Section, drawn
from cryoloom.views.images import (
    averaged_to,
    central_slices,
    data_uri,
    slice_images,
    stretched,
    tilt_thumbnail,
)
from cryoloom.views.judgement import Finding, Light, criteria_of, judge, overall, session_axis_deg
from cryoloom.views.numbers import NOT_MEASURABLE, number_text, unit_symbol, with_unit
from cryoloom.views.plot_parts import Plot

__all__ = ["write_report"]

# Beyond this many the sections of the series start closed: a page of fifty is read from its table.
_OPEN_SECTIONS = 10
_SMALL_PX = 320
# Thick enough to see membranes through the noise, thin enough not to blur a ribosome (250 angstrom).
_SLICE_THICKNESS_ANGSTROM = 80.0


@dataclass(frozen=True, slots=True)
class _Thumbnail:
    """One tilt in the gallery."""

    uri: str
    angle: str
    acquisition_index: int
    excluded_reason: str


@dataclass(frozen=True, slots=True)
class _Slices:
    """Pictures of a tomogram's middle and a small one for the overview; the widths keep one scale."""

    xy: str
    xz: str
    yz: str
    preview: str
    width_px: int
    depth_px: int
    caption: str


@dataclass(frozen=True, slots=True)
class _FigureRow:
    """One figure in the table of a series."""

    step: str
    title: str
    value: str
    meaning: str
    good: str


@dataclass(frozen=True, slots=True)
class _Section:
    """One series as the template shows it."""

    anchor: str
    item: SeriesReport
    light: Light
    findings: tuple[Finding, ...]
    headline: str
    thumbnails: tuple[_Thumbnail, ...]
    loop: str
    """The aligned images as a looping picture; "" where they are not aligned."""
    slices: _Slices | None
    drawn: Mapping[Section, tuple[Plot | DataTable, ...]]
    figures: tuple[_FigureRow, ...]
    cells: tuple[tuple[str, float | None], ...]
    """Text and sort value of the summary table's columns."""
    notes: tuple[str, ...]


_LIGHTS: tuple[Light, ...] = ("good", "look", "poor", "failed", "unknown")
_DASH, _TIMES, _MINUS = "\u2013", "\u00d7", "\u2212"
_SERIES_COLUMNS = (
    ("Tilts used", "", "tilts in use, of those acquired"),
    ("Range", "", "lowest to highest tilt in use"),
    ("Dose", "e/Å²", "total over the series"),
    ("Tilt axis", "°", "direction in the image, counter-clockwise from +y"),
)


def write_report(content: ReportContent, path: Path) -> None:
    """Write the page as ``path``, whole or not at all; it refers to nothing outside itself."""
    axis = session_axis_deg(content.series)
    columns = _figure_columns(content.series)
    sections = [_section(i, item, axis, columns) for i, item in enumerate(content.series, 1)]
    environment = Environment(
        loader=PackageLoader("cryoloom", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number_text,
        "with_unit": with_unit,
        "json_data": _json_data,
        "duration": _duration,
    }
    html = environment.get_template("page.html.j2").render(
        content=content,
        sections=sections,
        columns=(*_SERIES_COLUMNS, *(_heading(figure) for figure in columns)),
        criteria=criteria_of(content.series),
        open_sections=len(sections) <= _OPEN_SECTIONS,
        counts={light: sum(s.light == light for s in sections) for light in _LIGHTS},
        style=_asset("page.css"),
        script=_asset("page.js.j2"),
        plotly=Markup(get_plotlyjs()) if any(s.drawn for s in sections) else "",
        section_titles=SECTIONS,
        parameters=_parameters,
    )
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(html, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise TransientError(
            f"cannot write the report {path}: {error}; free the disk and try again"
        ) from error


def _heading(figure: Figure) -> tuple[str, str, str]:
    """Heading, unit and explanation of a figure's column."""
    column = figure.column
    if column is None:
        raise ValueError(f"the figure {figure.name} declares no column")
    return column.heading, column.unit or unit_symbol(figure.unit), figure.meaning


def _section(
    number: int, item: SeriesReport, session_axis: float | None, columns: tuple[Figure, ...]
) -> _Section:
    findings = judge(item, session_axis)
    notes: list[str] = []
    thumbnails: tuple[_Thumbnail, ...] = ()
    loop, slices = "", None
    try:
        small = _small_images(item.series)
        thumbnails = _thumbnails(item.series, small)
        loop = aligned_loop(item.series, small) if item.series is not None else ""
        slices = _slices(item)
    except CryoloomError as error:
        notes.append(f"Pictures are missing: {error}")
    return _Section(
        anchor=f"series-{number}",
        item=item,
        light=overall(item, findings),
        findings=findings,
        headline=_headline(item),
        thumbnails=thumbnails,
        loop=loop,
        slices=slices,
        drawn=drawn(item),
        figures=_figure_rows(item),
        cells=_cells(item, columns),
        notes=tuple(notes),
    )


def _small_images(series: TiltSeries | None) -> dict[int, NDArray[np.float32]]:
    """Block averages of all images by acquisition index. Unweighted: what the camera saw."""
    if series is None or (series.stack is None and series.weighted is None):
        return {}
    stack = series.stack or series.best_stack
    return {
        tilt.acquisition_index: averaged_to(stack.images[tilt.section], _SMALL_PX)
        for tilt in series.tilts
        if tilt.section is not None
    }


def _thumbnails(
    series: TiltSeries | None, small: Mapping[int, NDArray[np.float32]]
) -> tuple[_Thumbnail, ...]:
    """Every tilt in order of angle, excluded ones too."""
    if series is None:
        return ()
    return tuple(
        _Thumbnail(
            uri=data_uri(tilt_thumbnail(small[tilt.acquisition_index]), quality=80),
            angle=f"{angle:.1f}°".replace("-", _MINUS),
            acquisition_index=tilt.acquisition_index,
            excluded_reason=tilt.exclusion.reason if tilt.exclusion else "",
        )
        for tilt, angle in zip(series.tilts, series.tilt_deg, strict=True)
        if tilt.acquisition_index in small
    )


def _slices(item: SeriesReport) -> _Slices | None:
    tomogram = item.tomogram
    if tomogram is None:
        return None
    found = central_slices(tomogram.volume, tomogram.voxel_size_angstrom, _SLICE_THICKNESS_ANGSTROM)
    xy, xz, yz = slice_images(found)
    preview = data_uri(stretched(averaged_to(found.xy, 200), 0.5, 99.5), quality=80)
    n_z, n_y, n_x = tomogram.volume.shape
    size = f" {_TIMES} ".join(f"{n * tomogram.voxel_size_angstrom / 10:.0f}" for n in (n_x, n_y, n_z))
    caption = (
        f"Slices, {found.thickness_angstrom / 10:.0f} nm thick, of the tomogram ({tomogram.method}): "
        f"{n_x} {_TIMES} {n_y} {_TIMES} {n_z} voxels of {number_text(tomogram.voxel_size_angstrom)} Å, "
        f"{size} nm. Top left xy, seen along the beam, at the "
        f"height where most is to be seen ({found.height_angstrom / 10:+.0f} nm from the middle); "
        "below it xz, to its right yz, through the centre. Dense matter is dark. "
        "Above and below the specimen only noise should be seen."
    )
    return _Slices(data_uri(xy), data_uri(xz), data_uri(yz), preview, xy.width, yz.width, caption)


def _figure_rows(item: SeriesReport) -> tuple[_FigureRow, ...]:
    return tuple(
        _FigureRow(
            result.node, one.figure.title, one.text, " ".join(filter(None, [one.reason, one.figure.meaning])),
            _good(one.figure),
        )
        for result in item.results
        for one in result.measured
    )  # fmt: skip


def _good(figure: Figure) -> str:
    """Which values are good: the step's own words, or its bounds."""
    if figure.good or figure.bounds is None:
        return figure.good
    return f"up to {with_unit(figure.bounds.good_to, figure.unit)}"


def _figure_columns(items: Iterable[SeriesReport]) -> tuple[Figure, ...]:
    """Figures that have a column in the table of all series, in the order of the steps; one a heading."""
    found = {
        one.figure.column.heading: one.figure
        for item in items
        for result in item.results
        for one in result.measured
        if one.figure.column is not None
    }
    return tuple(found.values())


def _cells(item: SeriesReport, columns: Iterable[Figure]) -> tuple[tuple[str, float | None], ...]:
    """The summary table's row; a dash where nothing is known."""
    series = item.series
    cells: list[tuple[str, float | None]] = []
    if series is None or not series.tilts:
        cells += [(_DASH, None)] * 3
    else:
        used = [a for a, t in zip(series.tilt_deg, series.tilts, strict=True) if not t.is_excluded]
        span = f"{min(used):.0f}° to {max(used):.0f}°".replace("-", _MINUS) if used else _DASH
        dose = max(t.dose_end_per_angstrom2 for t in series.tilts)
        cells += [
            (f"{len(used)} of {len(series.tilts)}", float(len(used))),
            (span, max(used) - min(used) if used else None),
            (f"{dose:.0f}" if dose else _DASH, dose or None),
        ]
    cells.append(_cell(_axis_deg(series), 1))
    cells += [_figure_cell(item, figure.column) for figure in columns if figure.column is not None]
    return tuple(cells)


def _figure_cell(item: SeriesReport, column: Column) -> tuple[str, float | None]:
    found = item.measured(lambda other: other.column is not None and other.column.heading == column.heading)
    if found is None:
        return _cell(None, column.digits)
    if found.value is None:
        return NOT_MEASURABLE, None
    return _cell(found.value / column.divide_by, column.digits)


def _cell(value: float | None, digits: int) -> tuple[str, float | None]:
    if value is None or not np.isfinite(value):
        return _DASH, None
    return f"{value:.{digits}f}".replace("-", _MINUS), float(value)


def _axis_deg(series: TiltSeries | None) -> float | None:
    poses = [tilt.pose for tilt in series.included if tilt.pose is not None] if series else []
    return float(np.median([pose.axis_deg for pose in poses])) if poses else None


def _headline(item: SeriesReport) -> str:
    """One line that says what was recorded."""
    series = item.series
    if series is None:
        return ""
    parts = [
        f"{len(series.tilts)} tilts",
        f"{number_text(series.pixel_size_angstrom)} Å per pixel",
        f"{number_text(series.microscope.voltage_kv)} kV",
    ]
    if series.stack is not None and series.stack.pixel_size_angstrom != series.pixel_size_angstrom:
        parts.insert(2, f"binned to {number_text(series.stack.pixel_size_angstrom)} Å")
    hand = series.handedness.applied
    if hand is not None:
        parts.append(f"defocus handedness {hand:+.0f}")
    return ", ".join(parts)


def _parameters(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value, default=str)) for name, value in parameters.items()]


def _duration(seconds: float) -> str:
    """Time as people say it."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _json_data(value: object) -> Markup:
    """JSON for a script element: no character in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=float)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)


def _asset(name: str) -> Markup:
    """A file of this package, put into the page as it is."""
    return Markup(files("cryoloom.report").joinpath(name).read_text(encoding="utf-8"))
