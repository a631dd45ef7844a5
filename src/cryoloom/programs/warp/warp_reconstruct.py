"""Reconstruct the tomogram with WarpTools (``ts_reconstruct``) from poses and CTFs of a series.

The series is given as an export to Warp. Warp reconstructs in Fourier space, every part with the CTFs of its
place. Its volume is mirrored in z against ours (conventions.md); an even number of planes puts index
``n // 2`` of ours one voxel above its origin, which the poses kept with the tomogram say.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryoloom.algorithms.series.specimen_frame import series_from_frame, with_defocus_at_origin
from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.warp.tilt_series import write_warp
from cryoloom.model import PixelSink, TiltSeries, Tomogram
from cryoloom.procedures.tomogram_volumes import TILTS_IN_TOMOGRAM
from cryoloom.programs.handover import ProgramParams, keep_volume, make_calls, workplace_of
from cryoloom.programs.warp.warptools import WARPTOOLS, tilt_series_settings

__all__ = ["WarpReconstructParams", "calls", "volume_name", "warp_reconstruct"]

ROLES = {"": "tomogram", "even/": "tomogram_even", "odd/": "tomogram_odd"}
_SETTINGS, _NAME = "tiltseries.settings", "stack"


class WarpReconstructParams(ProgramParams):
    """Options of WarpTools' ts_reconstruct."""

    voxel_size_angstrom: float = option(
        "--angpix", 10.0, gt=0, kind="computed", description="Voxel size of the tomogram."
    )
    thickness_angstrom: float = option(
        "--tomo_dimensions", 4000.0, gt=0, kind="computed", description="Extent along the beam."
    )
    white_structure: bool = option(
        "--dont_invert", False, kind="computed", description="Invert the contrast: protein becomes bright."
    )
    normalise: bool = option(
        "--dont_normalize", True, kind="computed", description="Even out mean and deviation of the images."
    )
    only_full: bool = option(
        "--keep_full_voxels", False, kind="flag",
        description="Leave out voxels that some tilt does not show.",
    )  # fmt: skip
    part_px: int = option("--subvolume_size", 64, ge=16, description="Side of the parts that are made.")
    padding: int = option("--subvolume_padding", 3, ge=1, le=8, description="Padding factor of the parts.")
    halves: bool = option(
        "--halfmap_frames", True, kind="computed",
        description="Also make even and odd tomograms where the stack has halves.",
    )  # fmt: skip
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


def calls(series: TiltSeries, params: WarpReconstructParams, workplace: Workplace) -> tuple[Call, ...]:
    """The settings, and one run over the series."""
    stack = series.unweighted_stack
    n_y, n_x = stack.shape_yx
    extent = (n_x * stack.pixel_size_angstrom, n_y * stack.pixel_size_angstrom, params.thickness_angstrom)
    places = _places(series, params)
    return (
        tilt_series_settings(_SETTINGS, series, _NAME, extent),
        Call(
            program=WARPTOOLS,
            arguments=(
                "ts_reconstruct", "--settings", _SETTINGS, "--angpix", *text_of(params.voxel_size_angstrom),
                *([] if params.white_structure else ["--dont_invert"]),
                *([] if params.normalise else ["--dont_normalize"]),
                *(["--halfmap_frames"] if len(places) > 1 else []),
                "--device_list", str(workplace.gpu or 0), *arguments_of(params),
            ),
            writes=tuple(_path(place, params) for place in places),
        ),
    )  # fmt: skip


def _places(series: TiltSeries, params: WarpReconstructParams) -> list[str]:
    """Folders of what is made; Warp makes both halves or none."""
    both = params.halves and {"even", "odd"} <= set(series.unweighted_stack.present)
    return ["", "even/", "odd/"] if both else [""]


def volume_name(name: str, voxel_size_angstrom: float) -> str:
    """Warp's name of the tomogram of a series, without suffix."""
    return f"{name}_{voxel_size_angstrom:.2f}Apx"


def _path(place: str, params: WarpReconstructParams) -> str:
    return f"warp_tiltseries/reconstruction/{place}{volume_name(_NAME, params.voxel_size_angstrom)}.mrc"


@step(
    "warp_reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=lambda series, params: 16 << 30,
    gpu="optional",
    methods="Tomograms were reconstructed with WarpTools.",
    figures=(TILTS_IN_TOMOGRAM,),
    programs=(WARPTOOLS,),
    calls=calls,
    beside="reconstruct",
)
def warp_reconstruct(series: TiltSeries, params: WarpReconstructParams, context: StepContext) -> Tomogram:
    """Make a tomogram, and even and odd ones, with WarpTools from the poses and CTFs of a series."""
    series = with_defocus_at_origin(series, assume_centred=True)
    if any(tilt.ctf is None for tilt in series.included):
        raise DataUnfitError(
            f"not every tilt of {series.name} has a CTF, which Warp corrects; estimate it first"
        )
    folder = context.scratch()
    write_warp([(replace(series, name=_NAME), None)], folder)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    places = _places(series, params)
    voxel = params.voxel_size_angstrom
    shape = _shape(folder / _path("", params), series, params)
    kept: dict[str, PixelSink] = {}
    for place in places:
        kept[place] = keep_volume(
            context, ROLES[place], folder / _path(place, params), shape, voxel, mirror_z=True,
            multiscale=params.multiscale and not place,
        )  # fmt: skip
    context.figure("n_tilts", sum(tilt.pose is not None for tilt in series.included))
    placed = series_from_frame(series, (0.0, 0.0, voxel if shape[0] % 2 == 0 else 0.0))
    return Tomogram(
        placed, kept[""], voxel, kept.get("even/"), kept.get("odd/"), "Fourier inversion (WarpTools)"
    )


def _shape(path: Path, series: TiltSeries, params: WarpReconstructParams) -> tuple[int, int, int]:
    """(z, y, x) of the volume: the whole field, as thick as asked for, even numbers."""
    stack = series.unweighted_stack
    extents = (params.thickness_angstrom, *(n * stack.pixel_size_angstrom for n in stack.shape_yx))
    expected = tuple(2 * round(extent / params.voxel_size_angstrom / 2) for extent in extents)
    shape = MrcPixels(path).shape
    if any(abs(made - wanted) > 2 for made, wanted in zip(shape, expected, strict=True)):
        raise DataUnfitError(
            f"WarpTools made a volume of {shape} voxels, expected about {expected}; the result is not used"
        )
    return shape[0], shape[1], shape[2]
