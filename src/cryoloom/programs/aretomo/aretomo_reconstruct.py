"""Reconstruct the tomogram with AreTomo 2 from poses of any alignment.

The alignment is written as an ``.aln`` file, which AreTomo applies. Its volume has sections along y with rows
of z in our order (its ``GBackProj.cu`` has x' = x cos + z sin, as ours), so it is asked for as it comes, not
flipped. Its centre lies half a voxel from ours where the size is even; the poses kept with the tomogram say
so, and nothing is resampled. Halves are made with the same alignment.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.aretomo.aln import write_aretomo
from cryoloom.model import PixelSink, Stack, TiltSeries, Tomogram
from cryoloom.procedures.tomogram_volumes import TILTS_IN_TOMOGRAM
from cryoloom.programs.aretomo.aretomo2 import ARETOMO2, angle_file, even_px
from cryoloom.programs.aretomo.volume import ROLES, volume_shape
from cryoloom.programs.handover import ProgramParams, keep_volume, make_calls, workplace_of
from cryoloom.programs.included_tilts import (
    ImageChoice,
    chosen_stack,
    names_of_images,
    series_centred_on_voxel,
    written,
)

__all__ = ["AretomoReconstructParams", "aretomo_reconstruct", "calls"]


class AretomoReconstructParams(ProgramParams):
    """Options of AreTomo 2's reconstruction."""

    images: ImageChoice = setting("best", description="Images that are reconstructed.")
    thickness_angstrom: float = option(
        "-VolZ", 4000.0, gt=0, kind="computed", description="Extent of the tomogram along the beam."
    )
    binning: float = option("-OutBin", 4.0, ge=1, le=64, description="Stack pixels per voxel.")
    method: Literal["wbp", "sart"] = option(
        "-Wbp", "wbp", kind="computed", description="Weighted back-projection, or SART."
    )
    sart: tuple[int, int] = option(
        "-Sart", (15, 5), kind="computed", description="sart: iterations, and projections of an update."
    )
    tilt_range_deg: tuple[float, float] = option(
        "-ReconRange", (-90.0, 90.0), description="Least and largest tilt that is used."
    )
    correct_interpolation: bool = option(
        "-IntpCor", True, description="Undo what linear interpolation takes from fine detail."
    )
    white_structure: bool = option(
        "-FlipInt", False, description="Invert the contrast: protein becomes bright."
    )
    halves: bool = setting(True, description="Also make even and odd tomograms where the stack has halves.")
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


def calls(series: TiltSeries, params: AretomoReconstructParams, workplace: Workplace) -> tuple[Call, ...]:
    """A run for the tomogram, and one for each half, all with one alignment."""
    stack = chosen_stack(series, params.images)
    names = names_of_images(stack, halves=params.halves)
    return tuple(_call(stack, name, series, params, workplace) for name in names)


def _call(
    stack: Stack, name: str, series: TiltSeries, params: AretomoReconstructParams, workplace: Workplace
) -> Call:
    pixel_size = stack.pixel_size_angstrom
    method = ["-Wbp", "1"] if params.method == "wbp" else ["-Wbp", "0", "-Sart", *text_of(params.sart)]
    arguments = [
        "-InMrc", f"{name}.mrc", "-OutMrc", f"out/{name}.mrc", "-AngFile", "stack.tlt",
        "-AlnFile", "stack.aln", "-FlipVol", "0", "-PixSize", *text_of(pixel_size),
        "-Kv", *text_of(series.microscope.voltage_kv), "-Gpu", str(workplace.gpu or 0),
        "-VolZ", str(even_px(params.thickness_angstrom, pixel_size)), *method, *arguments_of(params),
    ]  # fmt: skip
    return Call(
        program=ARETOMO2,
        arguments=tuple(arguments),
        files={"stack.tlt": angle_file(series), "out/.folder": ""},
        writes=(f"out/{name}.mrc",),
    )


FIGURES = (TILTS_IN_TOMOGRAM,)


@step(
    "aretomo_reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=lambda series, params: 8 << 30,
    gpu="optional",
    methods="Tomograms were reconstructed with AreTomo.",
    figures=FIGURES,
    programs=(ARETOMO2,),
    calls=calls,
    beside="reconstruct",
)
def aretomo_reconstruct(
    series: TiltSeries, params: AretomoReconstructParams, context: StepContext
) -> Tomogram:
    """Make a tomogram, and even and odd ones, with AreTomo from the poses of a series."""
    series = with_defocus_at_origin(series, assume_centred=True)
    if any(tilt.pose is not None and tilt.pose.warp is not None for tilt in series.included):
        context.warn("the local displacements of the images cannot be given to AreTomo and are left out")
    folder = context.scratch()
    stack = chosen_stack(series, params.images)
    used = written(series, stack, folder / "images.mrc", least=5)
    unposed = [tilt.acquisition_index for tilt in used.tilts if tilt.pose is None]
    if unposed:
        raise DataUnfitError(f"tilts {unposed} of {series.name} have no pose; align the series first")
    _write_alignment(used, folder)
    made = calls(
        replace(used, stack=stack), params.model_copy(update={"images": "unweighted"}), workplace_of(context)
    )
    for name in ("even", "odd")[: len(made) - 1]:
        half = stack.present[name]
        written(series, Stack(half, stack.pixel_size_angstrom), folder / f"{name}.mrc", least=5)
    make_calls(made, params, context)
    voxel_size = stack.pixel_size_angstrom * params.binning
    shape = volume_shape(
        folder / "out" / "images.mrc", params.thickness_angstrom, params.binning, stack.pixel_size_angstrom
    )
    kept: dict[str, PixelSink] = {}
    for call in made:
        name = Path(call.writes[0]).stem
        kept[name] = keep_volume(
            context, ROLES[name], folder / "out" / f"{name}.mrc", shape, voxel_size,
            sections_are="y", multiscale=params.multiscale and name == "images",
        )  # fmt: skip
    context.figure("n_tilts", len(used.tilts))
    placed = series_centred_on_voxel(series, shape, voxel_size)
    method = "weighted back-projection (AreTomo)" if params.method == "wbp" else "SART (AreTomo)"
    return Tomogram(placed, kept["images"], voxel_size, kept.get("even"), kept.get("odd"), method)


def _write_alignment(used: TiltSeries, folder: Path) -> None:
    """``stack.aln`` of the tilts in use."""
    write_aretomo([(replace(used, name="stack"), None)], folder / "alignment")
    (folder / "alignment" / "stack.aln").replace(folder / "stack.aln")
