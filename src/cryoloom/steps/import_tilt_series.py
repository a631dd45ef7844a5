"""Import motion-corrected tilt series: stack, tilt angles, and doses or an mdoc.

Section ``i`` of the stack is line ``i`` of the angle and dose files, and ZValue ``i`` of the mdoc; if these
disagree, the extended header or the images decide (`stack_sections`). The order of acquisition is that of the
pre-exposures, of the mdoc, or of a scheme. Pixels are not copied. What every source reports is stored in the
record ``import`` (docs/reference/import.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.contract.acquisition import IMPORT_RECORDS, AcquisitionParams, each_read
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.session.acquisition_order import by_scheme, is_sorted
from cryoloom.formats.session.angle_files import read_exposures, read_tilt_angles, read_tilt_doses
from cryoloom.formats.session.decided_facts import stack_pixel_size, voltage
from cryoloom.formats.session.exposures import (
    Exposure,
    accumulated_doses,
    exposures_of,
    in_order_of_acquisition,
    places_in_time,
)
from cryoloom.formats.session.mdoc import read_mdoc
from cryoloom.formats.session.stack_sections import (
    AngleSource,
    match_sections,
    note_on_brightness,
    note_on_other_angles,
)
from cryoloom.formats.session.tilt_axis import axis_evidence
from cryoloom.model import Sourced, Stack, Tilt, TiltSeries
from cryoloom.model.evidence import Evidence, Source

__all__ = ["ImportTiltSeriesParams", "import_tilt_series"]

_SUFFIXES = (".mrc", ".st", ".mrcs", ".ali")
_ANGLE_SUFFIXES = (".rawtlt", ".tlt")
_EXPOSURE_SUFFIXES = (".exposure.txt", ".exposures.txt", ".dose.txt", "_dose.txt", ".dose")


class ImportTiltSeriesParams(AcquisitionParams):
    """Parameters of the import."""

    stack: Path = Field(Path(), description="A stack, or a folder of stacks.")
    stacks: str = Field("*", description="Which stacks of a folder, with * and ?.")
    angles: Path | None = Field(
        None, description="Tilt angles of one stack. Unset: .rawtlt, .tlt or mdoc beside it."
    )
    exposures: Path | None = Field(
        None,
        description="Pre-exposure and exposure per section, e/A^2. Unset: NAME.exposure.txt or mdoc beside "
        "it.",
    )
    pixel_size_angstrom: float | None = Field(
        None, gt=0, description="Pixel size. Unset: that of the stack's header or the mdoc."
    )
    dose_per_tilt_per_angstrom2: float | None = Field(None, gt=0, description="Dose of each tilt, e/A^2.")
    min_tilts: int = Field(3, ge=2, description="Fewest sections of a series.")


@dataclass(frozen=True, slots=True)
class _OrderAndDose:
    """Order and dose of each section, in the order of the stack."""

    acquisition_index: NDArray[np.int64]
    dose_start: NDArray[np.float64]
    dose_end: NDArray[np.float64]
    evidence: tuple[Evidence, ...]


@step(
    "import_tilt_series",
    per="project",
    needs=None,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 100 << 20,
    records=IMPORT_RECORDS,
    source_of=("images",),
)
def import_tilt_series(
    params: ImportTiltSeriesParams, context: StepContext
) -> Iterator[TiltSeries | DataUnfitError]:
    """Find motion-corrected tilt series. A series that cannot be read is returned as its error."""
    place = params.stack.absolute()
    for role, path in (("stack", place), ("angles", params.angles), ("exposures", params.exposures)):
        if path is not None and not path.exists():
            raise UserInputError(f"{path} does not exist; correct the parameter {role} of import_tilt_series")
    if place.is_dir():
        if params.angles or params.exposures:
            raise UserInputError("angles and exposures belong to one stack; give a stack, not a folder")
        paths = sorted(
            p
            for p in place.glob(params.stacks)
            if p.suffix.lower() in _SUFFIXES and "gain" not in p.name.lower()
        )
    else:
        paths = [place]
    wanted = [path for path in paths if params.wants(path.stem)]
    if not wanted:
        raise UserInputError(
            f"there is no stack {params.stacks} of a series {params.series} in {place}; expected "
            f"{', '.join(_SUFFIXES)}"
        )
    yield from each_read(wanted, lambda path: path.stem, lambda path: _series(path, params, context), context)


def _series(path: Path, params: ImportTiltSeriesParams, context: StepContext) -> TiltSeries:
    images = MrcPixels(path)
    n_sections = images.shape[0]
    if n_sections < params.min_tilts:
        raise DataUnfitError(
            f"{path.name} has too few sections for a tomogram; leave it out",
            got_tilts=n_sections,
            expected_tilts=f"{params.min_tilts} or more",
        )
    mdoc_path = _beside(path, (".mdoc",))
    mdoc = read_mdoc(mdoc_path) if mdoc_path else None
    if mdoc is not None and mdoc.is_montage:
        raise DataUnfitError(f"{path.name} is a montage by its mdoc, not a tilt series; leave it out")
    tilt_deg, matched, removed, sections = match_sections(
        path.name,
        n_sections,
        _angle_source(path, n_sections, params),
        _header_source(images),
        (mdoc.path.name, exposures_of(mdoc)) if mdoc else None,
        lambda: _brightness(images),
    )
    exposed = _order_and_dose(path, tilt_deg, matched, removed, params)
    pixel_size, size = stack_pixel_size(
        images.pixel_size_angstrom,
        (images.shape[1], images.shape[2]),
        mdoc,
        params.pixel_size_angstrom,
        path.name,
    )
    axis = mdoc.axis if mdoc else None
    kilovolt, volts = voltage(mdoc, params.voltage_kv)
    evidence = (sections, *exposed.evidence, size, axis_evidence(axis, params.tilt_axis_deg), volts)
    if images.note:
        context.warn(f"{path.name}: {images.note}")
    doubts = (
        _note_on_second_file(path, n_sections, params),
        "" if params.angles else note_on_brightness(tilt_deg, exposed.acquisition_index, _brightness(images)),
    )
    for doubt in doubts:
        if doubt:
            context.warn(f"{path.stem}: {doubt}")
    for one in evidence:
        if one.note:
            context.warn(f"{path.stem}: {one.note}")
    tilts = [
        Tilt(
            acquisition_index=int(exposed.acquisition_index[i]),
            nominal_tilt_deg=float(tilt_deg[i]),
            dose_start_per_angstrom2=float(exposed.dose_start[i]),
            dose_end_per_angstrom2=float(exposed.dose_end[i]),
            acquired_at=None if one is None else one.acquired_at,
            nominal_defocus_angstrom=None if one is None else one.nominal_defocus_angstrom,
            section=i,
        )
        for i, one in enumerate(matched)
    ]
    context.record(
        "import",
        {
            "stack": str(path),
            "dose_by": exposed.evidence[-1].used,
            "mdoc": str(mdoc_path) if mdoc else None,
            "evidence": [one.as_json() for one in evidence],
        },
    )
    return TiltSeries(
        name=path.stem,
        microscope=params.microscope(kilovolt),
        pixel_size_angstrom=pixel_size,
        tilts=tuple(sorted(tilts, key=lambda tilt: (tilt.nominal_tilt_deg, tilt.acquisition_index))),
        tilt_axis_deg=params.nominal_axis(axis),
        axis_is_directed=params.tilt_axis_deg is not None or axis is None or axis.is_directed,
        tilt_offset_deg=Sourced.from_told(params.tilt_offset_deg, "user"),
        handedness=Sourced.from_told(params.handedness, "user"),
        stack=Stack(images, pixel_size),
    )


def _angle_source(path: Path, n_sections: int, params: ImportTiltSeriesParams) -> AngleSource | None:
    source = params.angles or _beside(path, _ANGLE_SUFFIXES)
    if source is None:
        return None
    angles = read_tilt_angles(source)
    _require_count(source.name, len(angles), path, n_sections)
    return AngleSource(source.name, tuple(float(a) for a in angles), is_given=params.angles is not None)


def _note_on_second_file(path: Path, n_sections: int, params: ImportTiltSeriesParams) -> str:
    """Note on the second of two files of angles beside a stack."""
    used = _angle_source(path, n_sections, params)
    second = _beside(path, _ANGLE_SUFFIXES[1:])
    if used is None or used.is_given or second is None or second.name == used.name:
        return ""
    return note_on_other_angles(used, AngleSource(second.name, tuple(map(float, read_tilt_angles(second)))))


def _header_source(images: MrcPixels) -> AngleSource | None:
    tilts = images.section_tilts_deg
    return None if tilts is None else AngleSource("extended header", tilts)


def _brightness(images: MrcPixels) -> NDArray[np.float64]:
    """Mean of every section, from one row in sixteen."""
    return np.array([float(np.mean(images[i, ::16])) for i in range(images.shape[0])])


def _order_and_dose(
    path: Path,
    tilt_deg: NDArray[np.float64],
    matched: list[Exposure | None],
    removed: list[Exposure],
    params: ImportTiltSeriesParams,
) -> _OrderAndDose:
    """Order and dose: from exposures, the mdoc, or the given dose and scheme, in this order."""
    columns, source = _exposure_columns(path, len(tilt_deg), params)
    if columns is not None:
        return _by_columns(columns, source, params)
    known = [one for one in matched if one is not None]
    if len(known) == len(matched):
        return _by_mdoc(known, removed, params)
    each = params.dose_per_tilt_per_angstrom2
    if each is None:
        raise DataUnfitError(
            f"no source gives the dose of {path.name}; give dose_per_tilt_per_angstrom2, or "
            f"{path.stem}.exposure.txt "
            "beside it",
            got_per_angstrom2=0,
            expected_per_angstrom2="more than 0",
        )
    scheme = params.scheme or (
        "dose_symmetric" if is_sorted([float(tilt) for tilt in tilt_deg]) else "as in the stack"
    )
    index = np.arange(len(tilt_deg))
    if scheme != "as in the stack":
        index[by_scheme([float(t) for t in tilt_deg], scheme)] = np.arange(len(tilt_deg))
    before = np.float64(params.initial_dose_per_angstrom2) + index * np.float64(each)
    note = "" if params.scheme else f"no source gives the order of acquisition; assumed {_plain(scheme)}"
    order = Evidence("order of acquisition", scheme, "user" if params.scheme else "", (), note)
    user = (Source("user", f"{each:g} e/A^2 each"),)
    dose = Evidence("dose", f"{each:g} e/A^2 each", "user", user)
    return _OrderAndDose(index, before, before + each, (order, dose))


def _exposure_columns(
    path: Path, n_sections: int, params: ImportTiltSeriesParams
) -> tuple[NDArray[np.float64] | None, str]:
    """Doses per section from the file of exposures, or from a second column of the angles."""
    source = params.exposures or _beside(path, _EXPOSURE_SUFFIXES)
    if source is not None:
        columns = read_exposures(source)
        _require_count(source.name, len(columns), path, n_sections)
        return columns, source.name
    angles = params.angles or _beside(path, _ANGLE_SUFFIXES)
    if angles is None:
        return None, ""
    return read_tilt_doses(angles), f"second column of {angles.name}"


def _by_columns(columns: NDArray[np.float64], name: str, params: ImportTiltSeriesParams) -> _OrderAndDose:
    start = columns[:, 0] + params.initial_dose_per_angstrom2
    if params.dose_per_tilt_per_angstrom2 is not None:
        each = np.full(len(columns), params.dose_per_tilt_per_angstrom2)
    elif columns.shape[1] == 2:
        each = columns[:, 1]
    else:
        raise DataUnfitError(f"{name} contains no exposures; give dose_per_tilt_per_angstrom2")
    if not (each > 0).all():
        raise DataUnfitError(
            f"{name} contains no dose for section {int(np.argmin(each))}; give dose_per_tilt_per_angstrom2",
            got_per_angstrom2=float(each.min()),
        )
    if len(columns) > 1 and np.ptp(start) == 0:
        raise DataUnfitError(
            f"{name} gives the same dose before every section, {start[0]:g} e/A^2, so it gives no order; "
            "set dose_per_tilt_per_angstrom2 and scheme, and remove the file"
        )
    value = f"{start.min():g} to {(start + each).max():g} e/A^2"
    order = Evidence("order of acquisition", "by dose", name, (Source(name, value),))
    return _OrderAndDose(
        _ranks(start), start, start + each, (order, Evidence("dose", value, name, (Source(name, value),)))
    )


def _by_mdoc(
    sections: list[Exposure], removed: list[Exposure], params: ImportTiltSeriesParams
) -> _OrderAndDose:
    """Tilts missing from the stack were exposed as well: they are included in order and dose."""
    ordered, order = in_order_of_acquisition([*sections, *removed], params.scheme)
    doses, dose = accumulated_doses(
        ordered, params.dose_per_tilt_per_angstrom2, params.initial_dose_per_angstrom2
    )
    index = np.zeros(len(sections), dtype=np.int64)
    spans = np.zeros((len(sections), 2))
    for place, exposure, span in zip(places_in_time(ordered), ordered, doses, strict=True):
        if exposure.section is not None:
            index[exposure.section], spans[exposure.section] = place, span
    return _OrderAndDose(index, spans[:, 0], spans[:, 1], (order, dose))


def _plain(scheme: str) -> str:
    return scheme.replace("_", "-")


def _beside(path: Path, suffixes: tuple[str, ...]) -> Path | None:
    """File beside a stack with the stack's name, with or without its suffix."""
    for suffix in suffixes:
        for name in (path.name + suffix, path.stem + suffix):
            if (path.parent / name).is_file():
                return path.parent / name
    return None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place of each value in ascending order; equal values keep their order."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _require_count(name: str, n_lines: int, path: Path, n_sections: int) -> None:
    if n_lines != n_sections:
        raise DataUnfitError(
            f"{name} has {n_lines} lines, but {path.name} has {n_sections} sections; give files of the same "
            "series",
            got=n_lines,
            expected=n_sections,
        )
