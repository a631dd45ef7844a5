"""One series as the templates show it: text, tables, pictures and plots, all as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from cryoloom.contract.figures import Column, Figure
from cryoloom.errors import CryoloomError
from cryoloom.model import TiltSeries
from cryoloom.report.pictures import PictureCache, SeriesPictures, TomogramPictures, make_pictures
from cryoloom.views.content import SeriesReport
from cryoloom.views.ctf_plots import tilt_curve
from cryoloom.views.data_table import DataTable
from cryoloom.views.drawings import Section, drawn
from cryoloom.views.judgement import Finding, Light, judge, overall
from cryoloom.views.numbers import NOT_MEASURABLE, number_text, unit_symbol, with_unit
from cryoloom.views.particle_plots import average_caption
from cryoloom.views.plot_parts import Plot
from cryoloom.views.tilt_table import TILT_COLUMNS, TiltRow, tilt_rows

__all__ = [
    "SERIES_COLUMNS",
    "FigureRow",
    "SeriesSection",
    "ShownTilt",
    "column_heading",
    "series_row",
    "series_section",
]

Cell = tuple[str, float | None]
"""Text, and the value it is sorted by."""

_DASH, _TIMES, _MINUS = "\u2013", "\u00d7", "\u2212"
SERIES_COLUMNS = (
    ("Tilts used", "", "tilts in use, of those acquired"),
    ("Range", "", "lowest to highest tilt in use"),
    ("Dose", "e/Å²", "total over the series"),
    ("Tilt axis", "°", "direction in the image, counter-clockwise from +y"),
)
"""Heading, unit and explanation of the columns that do not come from figures."""


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure in the table of a series."""

    step: str
    title: str
    value: str
    meaning: str
    good: str


@dataclass(frozen=True, slots=True)
class ShownTilt:
    """One tilt in the gallery and in the table."""

    row: TiltRow
    angle: str
    cells: tuple[Cell, ...]
    thumbnail: str
    """"" if the tilt has no image."""


@dataclass(frozen=True, slots=True)
class SeriesSection:
    """Everything on the page about one series."""

    anchor: str
    href: str
    """Link to the section from the page with the table of all series."""
    item: SeriesReport
    light: Light
    findings: tuple[Finding, ...]
    headline: str
    cells: tuple[Cell, ...]
    """The series' row in the table of all series."""
    figures: tuple[FigureRow, ...] = ()
    tilts: tuple[ShownTilt, ...] = ()
    viewer: tuple[dict[str, Any], ...] = ()
    """Details of a tilt that the page shows on a click."""
    loop: str = ""
    average: str = ""
    average_caption: str = ""
    tomogram: TomogramPictures | None = None
    tomogram_caption: str = ""
    layer: int = 0
    """The layer nearest to the specimen's height."""
    layer_nm: tuple[str, ...] = ()
    drawn: Mapping[Section, tuple[Plot | DataTable, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    is_open: bool = True
    html: Markup | str = ""
    """The section as HTML, once it is made."""
    preview: str = ""
    """A small picture of the tomogram for the page with the table of all series."""


def series_row(item: SeriesReport, session_axis: float | None, columns: Sequence[Figure]) -> SeriesSection:
    """The series' row in the table of all series only: fast, without pictures and plots."""
    findings = judge(item, session_axis)
    return SeriesSection(
        anchor="",
        href="",
        item=item,
        light=overall(item, findings),
        findings=findings,
        headline=_headline(item),
        cells=_cells(item, columns),
    )


def series_section(
    item: SeriesReport,
    number: int,
    session_axis: float | None,
    columns: Sequence[Figure],
    cache: PictureCache | None,
) -> SeriesSection:
    """Section of one series. columns : figures with a column in the table of all series."""
    notes: list[str] = []
    pictures = SeriesPictures()
    try:
        pictures = make_pictures(item) if cache is None else cache.get(item)
    except CryoloomError as error:
        notes.append(f"Pictures are missing: {error}")
    tilts = _shown_tilts(item.series, pictures)
    tomogram = pictures.tomogram
    heights = tomogram.layer_heights_angstrom if tomogram is not None else ()
    middle = tomogram.height_angstrom if tomogram is not None else 0.0
    return replace(
        series_row(item, session_axis, columns),
        anchor=f"series-{number}",
        href=f"#series-{number}",
        figures=_figure_rows(item),
        tilts=tilts,
        viewer=tuple(_viewer(item, tilts, pictures)),
        loop=pictures.loop,
        average=pictures.average,
        average_caption="" if item.average is None else average_caption(item.average),
        tomogram=tomogram,
        preview="" if tomogram is None else tomogram.preview,
        tomogram_caption=_tomogram_caption(item, tomogram),
        layer=int(np.argmin(np.abs(np.array(heights) - middle))) if heights else 0,
        layer_nm=tuple(f"{height / 10:+.0f}".replace("-", _MINUS) for height in heights),
        drawn=drawn(item),
        notes=tuple(notes),
    )


def column_heading(figure: Figure) -> tuple[str, str, str]:
    """Heading, unit and explanation of the column of a figure."""
    column = figure.column
    if column is None:
        raise ValueError(f"the figure {figure.name} declares no column")
    return column.heading, column.unit or unit_symbol(figure.unit), figure.meaning


def _shown_tilts(series: TiltSeries | None, pictures: SeriesPictures) -> tuple[ShownTilt, ...]:
    """Every tilt in order of angle, excluded ones too."""
    if series is None:
        return ()
    thumbnails = {one.acquisition_index: one.thumbnail for one in pictures.tilts}
    return tuple(
        ShownTilt(
            row,
            _angle(row.tilt_deg),
            tuple(_cell(getattr(row, column.field), column.digits) for column in TILT_COLUMNS),
            thumbnails.get(row.acquisition_index, ""),
        )
        for row in tilt_rows(series)
    )


def _angle(tilt_deg: float) -> str:
    return f"{tilt_deg:.1f}°".replace("-", _MINUS)


def _viewer(item: SeriesReport, tilts: Sequence[ShownTilt], pictures: SeriesPictures) -> list[dict[str, Any]]:
    """Large image, spectrum, curve and facts of every tilt that has an image."""
    shown = {tilt.row.acquisition_index: tilt for tilt in tilts}
    found = []
    for one in pictures.tilts:
        tilt = shown[one.acquisition_index]
        curve = tilt_curve(item, one.acquisition_index)
        found.append(
            {
                "index": one.acquisition_index,
                "title": f"{item.name}, tilt {tilt.angle}, acquisition {one.acquisition_index}",
                "large": one.large,
                "spectrum": one.spectrum,
                "spectrum_caption": "Power spectrum"
                + (": measured on the left, the fitted CTF on the right." if one.spectrum_has_fit else ".")
                + f" The edge is at {one.spectrum_edge_angstrom:.1f} Å.",
                "curve": None if curve is None else curve.figure,
                "facts": _facts(tilt),
            }
        )
    return found


def _facts(tilt: ShownTilt) -> list[tuple[str, str]]:
    """Facts on a tilt, as names and texts."""
    row = tilt.row
    facts = [
        (f"{column.heading} ({column.unit})" if column.unit else column.heading, text)
        for column, (text, _) in zip(TILT_COLUMNS, tilt.cells, strict=True)
    ]
    facts.insert(2, ("Nominal tilt (°)", f"{row.nominal_tilt_deg:.1f}".replace("-", _MINUS)))
    state = "kept" if row.is_kept else f"excluded: {row.reason} (by {row.excluded_by})"
    return [*facts, ("State", state), *(("Remark", remark) for remark in row.remarks)]


def _tomogram_caption(item: SeriesReport, shown: TomogramPictures | None) -> str:
    tomogram = item.tomogram
    if tomogram is None or shown is None:
        return ""
    n_z, n_y, n_x = tomogram.volume.shape
    size = f" {_TIMES} ".join(f"{n * tomogram.voxel_size_angstrom / 10:.0f}" for n in (n_x, n_y, n_z))
    height = f"{shown.height_angstrom / 10:+.0f}".replace("-", _MINUS)
    return (
        f"Slices, {shown.thickness_angstrom / 10:.0f} nm thick, of the tomogram ({tomogram.method}): "
        f"{n_x} {_TIMES} {n_y} {_TIMES} {n_z} voxels of {number_text(tomogram.voxel_size_angstrom)} Å, "
        f"{size} nm. Top left xy, seen along the beam, {height} nm from the centre: the middle of the "
        f"specimen by {shown.height_source}. Below it xz, to its right yz, through the centre. Dense matter "
        "is dark. Above and below the specimen only noise should be seen. The slider moves the xy slice "
        "along z."
    )


def _figure_rows(item: SeriesReport) -> tuple[FigureRow, ...]:
    return tuple(
        FigureRow(
            step=result.node,
            title=one.figure.title,
            value=one.text,
            meaning=" ".join(filter(None, [_sentence(one.reason), one.figure.meaning])),
            good=_good(one.figure),
        )
        for result in item.results
        for one in result.measured
    )


def _sentence(reason: str) -> str:
    """A reason as the beginning of a text."""
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}." if reason else ""


def _good(figure: Figure) -> str:
    """Good values: in the step's own words, or its bounds."""
    if figure.good or figure.bounds is None:
        return figure.good
    return f"up to {with_unit(figure.bounds.good_to, figure.unit)}"


def _cells(item: SeriesReport, columns: Sequence[Figure]) -> tuple[Cell, ...]:
    """The row of a series in the table of all series; a dash for unknown values."""
    series = item.series
    cells: list[Cell] = []
    if series is None or not series.tilts:
        cells += [(_DASH, None)] * 3
    else:
        used = [a for a, t in zip(series.tilt_deg, series.tilts, strict=True) if not t.is_excluded]
        span = f"{min(used):.0f}° to {max(used):.0f}°".replace("-", _MINUS) if used else _DASH
        dose = max(t.dose_end_per_angstrom2 for t in series.tilts)
        cells += [
            (f"{len(used)} of {len(series.tilts)}", float(len(used))),
            (span, float(max(used) - min(used)) if used else None),
            (f"{dose:.0f}" if dose else _DASH, dose or None),
        ]
    cells.append(_cell(None if series is None else series.median_axis_deg, 1))
    cells += [_figure_cell(item, figure.column) for figure in columns if figure.column is not None]
    return tuple(cells)


def _figure_cell(item: SeriesReport, column: Column) -> Cell:
    found = item.measured(lambda other: other.column is not None and other.column.heading == column.heading)
    if found is None:
        return _cell(None, column.digits)
    if found.value is None:
        return NOT_MEASURABLE, None
    return _cell(found.value / column.divide_by, column.digits)


def _cell(value: float | None, digits: int) -> Cell:
    if value is None or not np.isfinite(value):
        return _DASH, None
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", _MINUS), float(value)


def _headline(item: SeriesReport) -> str:
    """One line on the data that were recorded."""
    series = item.series
    if item.average is not None:
        n = item.average.n_particles
        return "average" if n is None else f"average of {n} particles"
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
