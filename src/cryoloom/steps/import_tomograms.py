"""Import tomograms made by another program, to view, denoise and pick in them; pixels are not copied.

Halves are recognised by the names of RELION, Warp, AreTomo and cryoloom and become the halves of the
tomogram, which `denoise` needs. Where there are only halves, the tomogram is their mean.

The tomograms have no tilt images. Steps that search the images (`pick_by_template`, `pick_blobs`) cannot use
them; points by hand, imported coordinates, surfaces through them, membranes, filaments, denoising,
deconvolution and trimming can. To average what was picked, connect `assign_series` with the aligned series of
the same names: the centre ``n // 2`` of a tomogram is then the origin of their poses. Volumes of IMOD,
NovaCTF and Warp are mirrored along z against that (docs/explanation/conventions.md): set `mirrored_z`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from cryoloom.algorithms.series.derived_pixels import MeanOfHalves, Turned
from cryoloom.contract.acquisition import each_read
from cryoloom.contract.figures import Record
from cryoloom.contract.item_names import is_named
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.session.tomogram_files import TOMOGRAM_SUFFIXES, TomogramFiles, find_tomograms
from cryoloom.model import Microscope, Pixels, TiltSeries, Tomogram
from cryoloom.model.evidence import Evidence, Source
from cryoloom.model.limits import plausible

__all__ = ["ImportTomogramsParams", "import_tomograms"]

_HALF_FOLDERS = ("even", "odd")
"""Folders of Warp's half tomograms, below the folder of the tomograms."""
_FEWEST_SECTIONS = 8
"""Chosen: fewer sections are an image or a short stack, not a specimen."""
_SAME_SIZE = 0.01
"""Chosen: voxel sizes of a tomogram and its halves differ by less where they are rounded."""
_THIN = 0.75
"""Chosen: a specimen is wider than thick; a middle axis this much shorter than both others is z."""


class ImportTomogramsParams(StepParams):
    """Parameters of the import."""

    directory: Path = Field(Path(), description="A tomogram, or a folder of tomograms.")
    files: str = Field("*", description="Which files of a folder, with * and ?, separated by commas.")
    tomograms: str = Field(
        "*", description="Names of the tomograms to import, with * and ?, separated by commas."
    )
    voxel_size_angstrom: float | None = Field(None, gt=0, description="Voxel size. Unset: the header's.")
    axes: Literal["auto", "xyz", "xzy"] = Field(
        "auto",
        description="Order of the file's axes, fastest first. xzy: one section for each y, as IMOD's tilt "
        "writes; auto: xzy if the middle axis is by far the shortest.",
    )
    mirrored_z: bool | None = Field(
        None,
        description="Whether z of the file runs against z of cryoloom, as in volumes of IMOD, NovaCTF and "
        "Warp. Unset: only if the axes are xzy.",
    )
    voltage_kv: float = Field(300.0, gt=0, description="Acceleration voltage, for deconvolve.")
    spherical_aberration_mm: float = Field(2.7, ge=0, description="Cs of the objective lens.")
    amplitude_contrast: float = Field(0.1, ge=0, lt=1, description="Amplitude contrast.")
    pixel_size_angstrom: float | None = Field(
        None,
        gt=0,
        description="Pixel size of the movies, in which some programs give coordinates. Unset: the voxel "
        "size.",
    )


@step(
    "import_tomograms",
    per="project",
    needs=None,
    gives=Tomogram,
    bytes_needed=lambda item, params: 100 << 20,
    records=(
        Record("import", "Files of the tomogram, its voxel size and where it is from.", shows="evidence"),
    ),
)
def import_tomograms(
    params: ImportTomogramsParams, context: StepContext
) -> Iterator[Tomogram | DataUnfitError]:
    """Find tomograms of another program. One that cannot be read is returned as its error."""
    place = params.directory.absolute()
    if not place.exists():
        raise UserInputError(f"{place} does not exist; correct the parameter directory of import_tomograms")
    wanted = [one for one in find_tomograms(_files(place, params)) if is_named(one.name, params.tomograms)]
    if not wanted:
        raise UserInputError(
            f"there is no tomogram {params.tomograms} in {place}; expected files {params.files} that end in "
            f"{', '.join(TOMOGRAM_SUFFIXES)}"
        )
    yield from each_read(wanted, lambda one: one.name, lambda one: _tomogram(one, params, context), context)


def _files(place: Path, params: ImportTomogramsParams) -> list[Path]:
    """The requested files: one, or those of a folder and of its folders of halves."""
    if place.is_file():
        return [place]
    folders = [place, *(place / name for name in _HALF_FOLDERS if (place / name).is_dir())]
    return [
        path
        for folder in folders
        for path in folder.iterdir()
        if path.suffix.lower() in TOMOGRAM_SUFFIXES and is_named(path.name, params.files) and path.is_file()
    ]


def _tomogram(files: TomogramFiles, params: ImportTomogramsParams, context: StepContext) -> Tomogram:
    named = {"whole": files.whole, "even": files.even, "odd": files.odd}
    opened = {part: MrcPixels(path) for part, path in named.items() if path is not None}
    first = next(iter(opened.values()))
    _require_volume(first)
    for volume in opened.values():
        if volume.note:
            context.warn(f"{volume.path.name}: {volume.note}")
        if volume.shape != first.shape:
            raise DataUnfitError(
                f"{volume.path.name} has the shape {volume.shape}, but {first.path.name} has {first.shape}; "
                "give halves of the same tomogram, or leave them out with the parameter files"
            )
    voxel, size = _voxel_size(opened, params)
    sections_along_y = params.axes == "xzy" or (params.axes == "auto" and _is_thin_in_the_middle(first))
    if sections_along_y and params.axes == "auto":
        context.warn(
            f"{files.name}: the middle axis of {first.path.name} is by far the shortest {first.shape[::-1]}; "
            "it is taken as z, as IMOD's tilt writes it. Set axes of import_tomograms if this is wrong"
        )
    mirrored = sections_along_y if params.mirrored_z is None else params.mirrored_z
    parts: dict[str, Pixels] = {
        part: Turned(volume, sections_along_y, mirrored) if sections_along_y or mirrored else volume
        for part, volume in opened.items()
    }
    whole = parts.get("whole") or MeanOfHalves(parts["even"], parts["odd"])
    _require_numbers(whole, first.path)
    order = Evidence("order of the axes", "xzy" if sections_along_y else "xyz", _by(params.axes != "auto"))
    height = Evidence(
        "z of the file", "mirrored" if mirrored else "as here", _by(params.mirrored_z is not None)
    )
    context.record(
        "import",
        {
            "files": {part: str(volume.path) for part, volume in opened.items()},
            "evidence": [one.as_json() for one in (size, order, height)],
        },
    )
    series = TiltSeries(
        name=files.name,
        microscope=Microscope(params.voltage_kv, params.spherical_aberration_mm, params.amplitude_contrast),
        pixel_size_angstrom=params.pixel_size_angstrom or voxel,
        tilts=(),
    )
    return Tomogram(series, whole, voxel, parts.get("even"), parts.get("odd"), method="another program")


def _require_volume(volume: MrcPixels) -> None:
    n_z, n_y, n_x = volume.shape
    if min(n_z, n_y, n_x) < _FEWEST_SECTIONS:
        raise DataUnfitError(
            f"{volume.path.name} has {n_x} x {n_y} x {n_z} voxels (x, y, z), which is not a tomogram; leave "
            "it out with the parameter files",
            expected=f"{_FEWEST_SECTIONS} or more along each axis",
        )


def _is_thin_in_the_middle(volume: MrcPixels) -> bool:
    first, middle, last = volume.shape
    return middle < _THIN * min(first, last)


def _by(is_given: bool) -> str:
    return "user" if is_given else "default"


def _voxel_size(opened: dict[str, MrcPixels], params: ImportTomogramsParams) -> tuple[float, Evidence]:
    """Voxel size and what gives it. A header's 0 or 1 is ignored, as for stacks."""
    sources = tuple(
        Source(f"header of {volume.path.name}", f"{volume.pixel_size_angstrom:g} A")
        for volume in opened.values()
    )
    given = params.voxel_size_angstrom
    if given is not None:
        return given, Evidence("voxel size", f"{given:g} A", "user", sources)
    sizes = {
        volume.path.name: volume.pixel_size_angstrom
        for volume in opened.values()
        if volume.pixel_size_angstrom != 1.0 and plausible("pixel size", volume.pixel_size_angstrom)
    }
    if not sizes:
        names = ", ".join(volume.path.name for volume in opened.values())
        raise DataUnfitError(f"the header of {names} gives no voxel size; set voxel_size_angstrom")
    name, size = next(iter(sizes.items()))
    for other, another in sizes.items():
        if abs(another / size - 1) > _SAME_SIZE:
            raise DataUnfitError(
                f"the header of {other} gives voxels of {another:g} A, that of {name} {size:g} A; set "
                "voxel_size_angstrom"
            )
    return size, Evidence("voxel size", f"{size:g} A", f"header of {name}", sources)


def _require_numbers(volume: Pixels, path: Path) -> None:
    """Refuse a volume whose middle section has values that are no numbers, or one value alone."""
    middle = volume[volume.shape[0] // 2]
    if not np.isfinite(middle).all():
        raise DataUnfitError(f"{path.name} has values that are not finite numbers; write it again")
    if float(np.ptp(middle)) == 0:
        raise DataUnfitError(
            f"the middle section of {path.name} has one value alone, {float(middle.flat[0]):g}; it is empty "
            "or was not written to its end"
        )
