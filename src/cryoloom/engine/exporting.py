"""Content of an export: current results only; every missing series is listed with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.aretomo import aln as aretomo
from cryoloom.formats.exchange import cets_series
from cryoloom.formats.imod import export as imod
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, lost_in
from cryoloom.formats.picks.volumes import PickVolume
from cryoloom.formats.relion import relion5
from cryoloom.formats.warp import tilt_series as warp
from cryoloom.model import (
    Average,
    Item,
    ParticleRows,
    Particles,
    TiltSeries,
    Tomogram,
    doubt_of,
    no_resolution,
)
from cryoloom.store.current import CurrentState
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord

__all__ = [
    "EXPORT_FORMATS",
    "FORMATS",
    "Exported",
    "Selection",
    "add_notes",
    "exportable",
    "fit_for",
    "parts_behind",
    "select_for_export",
    "write_particle_files",
]

ExportItem = tuple[TiltSeries, Tomogram | None]


@dataclass(frozen=True, slots=True)
class _Format:
    """Writer of another program's files, and its limits."""

    write: Callable[..., tuple[Path, ...]]
    check: Callable[[TiltSeries], None]
    """Raises DataUnfitError for a series that the format cannot describe."""


FORMATS: Mapping[str, _Format] = {
    "relion5": _Format(relion5.write_relion5, relion5.check_exportable),
    "imod": _Format(imod.write_imod, imod.check_exportable),
    "aretomo": _Format(aretomo.write_aretomo, aretomo.check_exportable),
    "warp": _Format(warp.write_warp, warp.check_exportable),
    "cets": _Format(cets_series.write_cets_series, cets_series.check_exportable),
}


EXPORT_FORMATS = (
    *FORMATS,
    *(name for name, one in PARTICLE_FORMATS.items() if one.write is not None and name not in FORMATS),
)
"""Formats of tilt series, and formats of particles alone."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Content of an export, and the series that are missing in it."""

    files: tuple[Path, ...]
    series: tuple[str, ...]
    """Names of the series that are in it."""
    missing: Mapping[str, str]
    """Requested series that are missing or incomplete: the reason by series."""
    notes: tuple[str, ...]
    """Further notes for the user, one sentence each; in ``NOTES.txt`` too."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Items to be exported, and the missing series."""

    items: tuple[ItemRecord, ...]
    missing: Mapping[str, str]
    notes: Mapping[str, str]
    """Notes by series, where there are any."""


def select_for_export(
    state: CurrentState, series: Iterable[str] = (), *, outdated: bool = False
) -> Selection:
    """The current results of all series, or of those named.

    A series with decisions or parameters that are not applied yet is missing: its pixels and its metadata
    would not match. With ``outdated`` it is exported as it was made. For a series that failed or is not
    finished, the present results are exported, and it is listed as missing too. A series that a user or a
    step left out is not exported, unless it is requested by name.
    """
    names = list(series)
    if unknown := [name for name in names if name not in state.series]:
        known = ", ".join(state.series) or "none"
        raise UserInputError(f"there is no series {', '.join(unknown)} to export; this project has {known}")
    items: list[ItemRecord] = []
    missing: dict[str, str] = {}
    notes: dict[str, str] = {}
    for one in state.series.values():
        if names and one.name not in names:
            continue
        why = f"{one.state.replace('_', ' ')} at {one.deciding.node}: {one.deciding.why}"
        if one.state == "left_out":
            notes[one.name] = f"{one.name} is not in this export: {why}"
            if names:
                missing[one.name] = why
        elif one.state == "outdated" and outdated:
            items.append(one.made[-1][1])
            notes[one.name] = f"{one.name} is exported as it was made before: {why}"
        elif one.state == "outdated":
            missing[one.name] = why
            notes[one.name] = f"{one.name} is not in this export: {why}"
        else:
            result = one.result
            if one.state != "current":
                missing[one.name] = why
                notes[one.name] = f"{one.name} is incomplete in this export: {why}"
            if result is not None and not result.is_fanned_out:
                items.append(result)
    return Selection(tuple(items), missing, notes)


def parts_behind(database: Reader, item: ItemRecord, value: object) -> list[ItemRecord]:
    """Further outputs of an item; for an average made from another average, those of the first one.

    `postprocess` gives an average without particles: the refined particles are an output of `refine`.
    """
    while True:
        parts = [
            part
            for part in database.items(item.run_id)
            if part.part_of is not None and part.part_of == item.id
        ]
        if parts or not isinstance(value, Average) or item.input_item_id is None:
            return parts
        item = database.item_without_value(item.input_item_id)


def exportable(
    values: Sequence[Item], further: Sequence[Item] = ()
) -> tuple[list[ExportItem], list[Particles], list[Average]]:
    """What formats describe: series (each once, with its tomogram if any), particle sets, and averages.

    further : values of further outputs of the same results. Refined particles among them replace the picks
    that they were made from.
    """
    pairs: dict[str, ExportItem] = {}
    refined = [value for value in further if isinstance(value, Particles)]
    replaced = {series.name for one in refined for series in one.series}
    picked = [value for value in values if isinstance(value, Particles)]
    particles = refined + [
        one for one in picked if not (one.series and {series.name for series in one.series} <= replaced)
    ]
    for one in particles:
        pairs |= {series.name: (series, None) for series in one.series}
        pairs |= {tomogram.name: (tomogram.series, tomogram) for tomogram in one.tomograms}
    for value in values:
        if (series := value.own_series) is not None:
            pairs[series.name] = (series, value if isinstance(value, Tomogram) else None)
    averages = [value for value in values if isinstance(value, Average)]
    return [pairs[name] for name in sorted(pairs)], particles, averages


def fit_for(format: str, pairs: Iterable[ExportItem]) -> tuple[list[ExportItem], dict[str, str]]:
    """Series that the format can describe, and for the others the reason, by name."""
    fit: list[ExportItem] = []
    refused: dict[str, str] = {}
    for pair in pairs:
        try:
            FORMATS[format].check(pair[0])
        except DataUnfitError as error:
            refused[pair[0].name] = str(error)
        else:
            fit.append(pair)
    return fit, refused


def write_particle_files(
    format: str, particles: Sequence[Particles], directory: Path
) -> tuple[tuple[Path, ...], tuple[str, ...], tuple[str, ...]]:
    """Files of particles alone, notes for the user, and the names of the tomograms in them.

    Coordinates are in voxels of the tomograms that the particles were picked in. Raises UserInputError if
    there are no particles.
    """
    known = PARTICLE_FORMATS[format]
    with_some = [item for item in particles if item.n_particles]
    if not with_some or known.write is None:
        raise UserInputError(f"there are no particles to export to {format}; pick or import some first")
    rows = ParticleRows.joined([item.rows() for item in with_some])
    volumes = {}
    for item in with_some:
        for tomogram in item.tomograms:
            voxel = tomogram.voxel_size_angstrom
            pixel = tomogram.series.pixel_size_angstrom if known.counts_in_series_pixels else voxel
            n_z, n_y, n_x = (round(n * voxel / pixel) for n in tomogram.volume.shape)
            volumes[tomogram.name] = PickVolume((n_z, n_y, n_x), pixel)
    files = tuple(known.write(directory, rows, volumes))
    notes = [
        f"{one.name}: coordinates are in voxels of {volumes[one.name].voxel_angstrom:g} A"
        for item in with_some
        for one in item.tomograms
    ]
    if doubt := doubt_of(with_some):
        notes.append(no_resolution(doubt))
    if lost := lost_in(format, rows):
        notes.append(f"the format ({known.label}) cannot store: {', '.join(lost)}")
    return files, tuple(notes), tuple(sorted(set(rows.tomogram.tolist())))


def add_notes(directory: Path, notes: Sequence[str], files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Files of an export with the notes in ``NOTES.txt`` as well."""
    if not notes:
        return files
    path = directory / "NOTES.txt"
    written = path.read_text(encoding="utf-8") if path in files else ""
    path.write_text(written + "\n".join(notes) + "\n", encoding="utf-8")
    return files if path in files else (*files, path)
