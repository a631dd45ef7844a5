"""The report: self-contained HTML for readers who did not run the processing.

A few series are one file. With many, the file with the table of all series links to one page per series in a
folder beside it, which is rewritten only if something of the series has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from cryoloom.errors import TransientError
from cryoloom.report.pictures import PictureCache, picture_key
from cryoloom.report.section import (
    SERIES_COLUMNS,
    SeriesSection,
    column_heading,
    series_row,
    series_section,
)
from cryoloom.views.content import ReportContent
from cryoloom.views.drawings import SECTIONS
from cryoloom.views.judgement import Light, criteria_of, session_axis_deg
from cryoloom.views.numbers import number_text, with_unit
from cryoloom.views.session_plots import column_figures, session_plots
from cryoloom.views.tilt_table import TILT_COLUMNS

__all__ = ["PAGES_FOLDER", "state_of_report", "write_report"]

PAGES_FOLDER = "report"
"""Folder of the pages of the series, beside the report, if they do not fit into it."""
MOST_BYTES_IN_ONE_FILE = 60_000_000
"""Size limit of one file: a browser opens a larger file slowly and mail refuses it."""
PAGE_VERSION = 1
"""Increased when a page shows the same results differently."""
_OPEN_SECTIONS = 10
"""With more series than this their sections start closed."""
_LIGHTS: tuple[Light, ...] = ("good", "look", "poor", "failed", "unknown")


def write_report(content: ReportContent, path: Path, cache_folder: Path | None = None) -> None:
    """Write the report as ``path``, and pages of many series in a folder beside it, each whole or not at all.

    cache_folder : where pictures are kept, so that only those of changed series are made again.
    """
    cache = None if cache_folder is None else PictureCache(cache_folder)
    axis, columns = session_axis_deg(content.series), column_figures(content.series)
    environment = _environment()
    is_open = len(content.series) <= _OPEN_SECTIONS
    sections: list[SeriesSection] = []
    total = 0
    for number, item in enumerate(content.series, 1):
        section = replace(series_section(item, number, axis, columns, cache), is_open=is_open)
        html = environment.get_template("section.html.j2").render(section=section)
        total += len(html)
        sections.append(replace(section, html=Markup(html)))
        if total > MOST_BYTES_IN_ONE_FILE:
            break
    pages = total > MOST_BYTES_IN_ONE_FILE
    if pages:
        sections = _write_pages(content, path, environment, columns, axis, cache)
    html = environment.get_template("page.html.j2").render(
        content=content,
        sections=sections,
        columns=(*SERIES_COLUMNS, *(column_heading(figure) for figure in columns)),
        criteria=criteria_of(content.series),
        counts={light: sum(s.light == light for s in sections) for light in _LIGHTS},
        session_plots=(plots := session_plots(content.series)),
        pages=f"{PAGES_FOLDER}/" if pages else "",
        style=_asset("page.css"),
        script=_asset("page.js.j2"),
        plotly=_plotly() if plots or any(s.drawn for s in sections if s.html) else "",
        parameters=_parameters,
    )
    _write(path, html)
    if cache is not None:
        cache.forget_others(item.name for item in content.series)


def state_of_report(path: Path) -> str:
    """`ReportContent.state` at the time the report was written; "" if there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError), path.open(encoding="utf-8") as file:
        head = file.read(2000)
        mark = '<meta name="cryoloom-state" content="'
        if mark in head:
            return head.split(mark, 1)[1].split('"', 1)[0]
    return ""


def _write_pages(
    content: ReportContent,
    path: Path,
    environment: Environment,
    columns: Sequence[Any],
    axis: float | None,
    cache: PictureCache | None,
) -> list[SeriesSection]:
    """Write a page of every series that has changed; returns the rows of the table of all series."""
    folder = path.parent / PAGES_FOLDER
    rows = []
    for item in content.series:
        name = f"{item.name}.html"
        row = replace(series_row(item, axis, columns), href=f"{PAGES_FOLDER}/{name}")
        state = _state_of_page(content, row)
        if state is not None and cache is not None and state_of_report(folder / name) == state:
            rows.append(replace(row, preview=cache.preview(item)))
            continue
        section = series_section(item, 1, axis, columns, cache)
        html = environment.get_template("section.html.j2").render(section=section)
        page = environment.get_template("series.html.j2").render(
            content=content,
            section=replace(section, html=Markup(html)),
            state=state or "",
            overview=path.name,
            style=_asset("page.css"),
            script=_asset("page.js.j2"),
            plotly=_plotly() if section.drawn else "",
        )
        _write(folder / name, page)
        rows.append(replace(row, preview=section.preview))
    return rows


def _state_of_page(content: ReportContent, row: SeriesSection) -> str | None:
    """Digest of everything on the page of a series; None if its pixels are not in files."""
    item, pictures = row.item, picture_key(row.item)
    if pictures is None:
        return None
    text = (content.cryoloom_version, content.project_name, [finding.text for finding in row.findings])
    results = (item.results, item.warnings, item.failure, item.pending, item.files, item.seconds, row.cells)
    return hashlib.sha256(repr((PAGE_VERSION, text, results, pictures)).encode()).hexdigest()


def _environment() -> Environment:
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
    environment.globals |= {"section_titles": SECTIONS, "tilt_columns": TILT_COLUMNS}
    return environment


def _write(path: Path, html: str) -> None:
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


def _parameters(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value, default=str)) for name, value in parameters.items()]


def _duration(seconds: float) -> str:
    """Time in words."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _json_data(value: object) -> Markup:
    """JSON for a script element: no character in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=float)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)


def _plotly() -> Markup:
    return Markup(get_plotlyjs())


def _asset(name: str) -> Markup:
    """A file of this package, inserted into the page unchanged."""
    return Markup(files("cryoloom.report").joinpath(name).read_text(encoding="utf-8"))
