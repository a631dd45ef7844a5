"""Tilt series from stacks that somebody else motion-corrected: stack, tilt angles, and exposures or an mdoc.

Section ``i`` of the stack is line ``i`` of the angle and exposure files. The order of acquisition is that of
the pre-exposures, or the mdoc's, or that of a scheme. Pixels stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.contract.acquisition import AcquisitionParams
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.session.angle_files import read_exposures, read_tilt_angles
from cryoloom.formats.session.exposures import accumulated_doses, exposures_of, in_order_of_acquisition
from cryoloom.formats.session.mdoc import Mdoc, read_mdoc
from cryoloom.model import Sourced, Stack, Tilt, TiltSeries

__all__ = ["ImportTiltSeriesParams", "import_tilt_series"]

_SUFFIXES = (".mrc", ".st", ".mrcs", ".ali")
_ANGLE_SUFFIXES = (".rawtlt", ".tlt")
_EXPOSURE_SUFFIXES = (".exposure.txt", ".exposures.txt", ".dose.txt", "_dose.txt", ".dose")


class ImportTiltSeriesParams(AcquisitionParams):
    """Where the stacks are, and what the files beside them do not tell."""

    stack: Path = Field(Path(), description="A stack, or a folder of stacks.")
    stacks: str = Field("*", description="Which stacks of a folder, with * and ?.")
    angles: Path | None = Field(
        None, description="Tilt angles of one stack. Else .rawtlt, .tlt or mdoc beside it."
    )
    exposures: Path | None = Field(
        None,
        description="Pre-exposure and exposure a section, e/A^2. Else NAME.exposure.txt or mdoc beside it.",
    )
    pixel_size_angstrom: float | None = Field(
        None, gt=0, description="Pixel size. Else the stack's header's."
    )
    dose_per_tilt_per_angstrom2: float | None = Field(None, gt=0, description="Dose of each exposure, e/A^2.")
    scheme: Literal["dose_symmetric", "ascending", "descending"] = Field(
        "dose_symmetric", description="Order of acquisition, where neither exposures nor an mdoc tell it."
    )
    min_tilts: int = Field(3, ge=2, description="Fewest sections a series may have.")


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of each section, in the order of the stack."""

    tilt_deg: NDArray[np.float64]
    acquisition_index: NDArray[np.int64]
    dose_start: NDArray[np.float64]
    dose_end: NDArray[np.float64]
    acquired_at: tuple[datetime | None, ...]
    defocus_angstrom: tuple[float | None, ...]
    by: str


@step(
    "import_tilt_series",
    per="project",
    needs=None,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 100 << 20,
)
def import_tilt_series(
    params: ImportTiltSeriesParams, context: StepContext
) -> Iterator[TiltSeries | DataUnfitError]:
    """Find motion-corrected tilt series. A series that cannot be read comes as its error."""
    place = params.stack.absolute()
    for role, path in (("stack", place), ("angles", params.angles), ("exposures", params.exposures)):
        if path is not None and not path.exists():
            raise UserInputError(f"{path} does not exist; correct {role} of import_tilt_series")
    if place.is_dir():
        if params.angles or params.exposures:
            raise UserInputError("angles and exposures are those of one stack; give a stack, not a folder")
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
    for i, path in enumerate(wanted):
        try:
            yield _series(path, params, context)
        except DataUnfitError as error:
            yield DataUnfitError(error.message, **{**error.facts, "series": path.stem})
        context.progress(i + 1, len(wanted))


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
    angles = _angles(path, n_sections, mdoc, params)
    told = _told(path, angles, mdoc, params, context)
    pixel_size = params.pixel_size_angstrom or images.pixel_size_angstrom
    if not pixel_size > 0:
        raise DataUnfitError(f"the header of {path.name} tells no pixel size; give pixel_size_angstrom")
    axis = mdoc.tilt_axis_deg if mdoc else None
    axis_told = Sourced.from_told(axis[0], f"mdoc {axis[1]}") if axis else Sourced()
    tilt_axis = axis_told.overruled_by_user(params.tilt_axis_deg)
    if tilt_axis.applied is None:
        context.warn(
            f"{path.stem}: no tilt axis is told; give tilt_axis_deg if the alignment does not find it"
        )
    voltage = params.voltage_kv or (mdoc.voltage_kv if mdoc else None)
    if voltage is None:
        context.warn(f"{path.stem}: no voltage is told; taken to be 300 kV")
    tilts = [
        Tilt(
            acquisition_index=int(told.acquisition_index[i]),
            nominal_tilt_deg=float(told.tilt_deg[i]),
            dose_start_per_angstrom2=float(told.dose_start[i]),
            dose_end_per_angstrom2=float(told.dose_end[i]),
            acquired_at=told.acquired_at[i],
            nominal_defocus_angstrom=told.defocus_angstrom[i],
            section=i,
        )
        for i in range(n_sections)
    ]
    context.record(
        "import", {"stack": str(path), "dose_by": told.by, "mdoc": str(mdoc_path) if mdoc else None}
    )
    return TiltSeries(
        name=path.stem,
        microscope=params.microscope(voltage),
        pixel_size_angstrom=pixel_size,
        tilts=tuple(sorted(tilts, key=lambda tilt: (tilt.nominal_tilt_deg, tilt.acquisition_index))),
        tilt_axis_deg=tilt_axis,
        tilt_offset_deg=Sourced.from_told(params.tilt_offset_deg, "user"),
        handedness=Sourced.from_told(params.handedness, "user"),
        stack=Stack(images, pixel_size),
    )


def _angles(
    path: Path, n_sections: int, mdoc: Mdoc | None, params: ImportTiltSeriesParams
) -> NDArray[np.float64]:
    source = params.angles or _beside(path, _ANGLE_SUFFIXES)
    if source is not None:
        angles, name = read_tilt_angles(source), source.name
    elif mdoc is not None:
        angles, name = np.array([exposure.tilt_deg for exposure in exposures_of(mdoc)]), mdoc.path.name
    else:
        raise DataUnfitError(
            f"no tilt angles are told for {path.name}; expected {path.stem}.rawtlt, .tlt or an mdoc beside it"
        )
    _require_count(name, len(angles), path, n_sections)
    return angles


def _told(
    path: Path,
    angles: NDArray[np.float64],
    mdoc: Mdoc | None,
    params: ImportTiltSeriesParams,
    context: StepContext,
) -> _Told:
    """Order and dose: from exposures, else from the mdoc, else from the dose given and the scheme."""
    n = len(angles)
    nothing: tuple[None, ...] = (None,) * n
    source = params.exposures or _beside(path, _EXPOSURE_SUFFIXES)
    if source is not None:
        columns = read_exposures(source)
        _require_count(source.name, len(columns), path, n)
        start = columns[:, 0] + params.initial_dose_per_angstrom2
        if params.dose_per_tilt_per_angstrom2 is not None:
            each = np.full(n, params.dose_per_tilt_per_angstrom2)
        elif columns.shape[1] == 2:
            each = columns[:, 1]
        else:
            raise DataUnfitError(f"{source.name} tells no exposures; give dose_per_tilt_per_angstrom2")
        if not (each > 0).all():
            raise DataUnfitError(
                f"{source.name} tells no dose for section {int(np.argmin(each))}; give "
                "dose_per_tilt_per_angstrom2",
                got_per_angstrom2=float(each.min()),
            )
        return _Told(angles, _ranks(start), start, start + each, nothing, nothing, source.name)
    if mdoc is not None:
        return _told_by_mdoc(path, angles, mdoc, params)
    if params.dose_per_tilt_per_angstrom2 is None:
        raise DataUnfitError(
            f"no dose is told for {path.name}; give dose_per_tilt_per_angstrom2, or {path.stem}.exposure.txt "
            "beside it",
            got_per_angstrom2=0,
            expected_per_angstrom2="more than 0",
        )
    key = {"dose_symmetric": np.abs(angles), "ascending": angles, "descending": -angles}[params.scheme]
    index = _ranks(np.round(key, 1))
    each = np.full(n, params.dose_per_tilt_per_angstrom2)
    context.warn(f"{path.stem}: exposures are taken to be in {params.scheme.replace('_', '-')} order")
    before = params.initial_dose_per_angstrom2 + index * each
    return _Told(angles, index, before, before + each, nothing, nothing, params.scheme)


def _told_by_mdoc(
    path: Path, angles: NDArray[np.float64], mdoc: Mdoc, params: ImportTiltSeriesParams
) -> _Told:
    exposures = exposures_of(mdoc)
    _require_count(mdoc.path.name, len(exposures), path, len(angles))
    sections = [replace(exposure, section=i) for i, exposure in enumerate(exposures)]
    ordered, _ = in_order_of_acquisition(sections)
    doses, by = accumulated_doses(
        ordered, params.dose_per_tilt_per_angstrom2, params.initial_dose_per_angstrom2
    )
    index = np.zeros(len(angles), dtype=np.int64)
    dose = np.zeros((len(angles), 2))
    for i, exposure in enumerate(ordered):
        index[exposure.section], dose[exposure.section] = i, doses[i]
    times = tuple(exposure.acquired_at for exposure in exposures)
    defocus = tuple(exposure.nominal_defocus_angstrom for exposure in exposures)
    return _Told(angles, index, dose[:, 0], dose[:, 1], times, defocus, by)


def _beside(path: Path, suffixes: tuple[str, ...]) -> Path | None:
    """File beside a stack called like it, with or without the stack's own suffix."""
    for suffix in suffixes:
        for name in (path.name + suffix, path.stem + suffix):
            if (path.parent / name).is_file():
                return path.parent / name
    return None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place of each value in ascending order; equal ones keep theirs."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _require_count(name: str, n_lines: int, path: Path, n_sections: int) -> None:
    if n_lines != n_sections:
        raise DataUnfitError(
            f"{name} is for {n_lines} images and {path.name} has {n_sections} sections; give files that fit",
            got=n_lines,
            expected=n_sections,
        )
