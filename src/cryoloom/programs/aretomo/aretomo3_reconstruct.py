"""Reconstruct the tomogram with AreTomo 3 from poses of any alignment (``-Cmd 2``).

AreTomo 3 is given the stack with its halves (``stack_EVN.mrc``, ``stack_ODD.mrc``), the alignment and, for
its local correction, the CTFs as it would have written them itself. Its volume has sections along y with rows
of z in our order, as AreTomo 2's; its centre lies half a voxel from ours where a size is even, which the
poses kept with the tomogram say. It takes no series of fewer than seven tilts.
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
from cryoloom.programs.aretomo.aretomo2 import angle_file, even_px
from cryoloom.programs.aretomo.aretomo3_align_series import ARETOMO3
from cryoloom.programs.aretomo.volume import ROLES, volume_shape
from cryoloom.programs.handover import ProgramParams, keep_volume, make_calls, workplace_of
from cryoloom.programs.included_tilts import ImageChoice, chosen_stack, series_centred_on_voxel, written

__all__ = ["Aretomo3ReconstructParams", "aretomo3_reconstruct", "calls"]

# AreTomo's names of halves: its even sum holds the frames 1, 3, ..., which is what `Stack.odd` holds.
_NAMES = {"images": "stack", "even": "stack_ODD", "odd": "stack_EVN"}


class Aretomo3ReconstructParams(ProgramParams):
    """Options of AreTomo 3's reconstruction."""

    images: ImageChoice = setting("best", description="Images that are reconstructed.")
    thickness_angstrom: float = option(
        "-VolZ", 4000.0, gt=0, kind="computed", description="Extent of the tomogram along the beam."
    )
    binning: float = option("-AtBin", 4.0, ge=1, le=64, description="Stack pixels per voxel.")
    method: Literal["wbp", "sart"] = option(
        "-Wbp", "wbp", kind="computed", description="Weighted back-projection, or SART."
    )
    sart: tuple[int, int] = option(
        "-Sart", (20, 3), kind="computed", description="sart: iterations, and projections of an update."
    )
    tilt_range_deg: tuple[float, float] = option(
        "-ReconRange", (-90.0, 90.0), description="Least and largest tilt that is used."
    )
    correct_ctf: Literal["no", "deconvolve", "flip", "multiply"] = option(
        "-CorrCTF", "no", kind="computed",
        description="Correct the CTF locally, by its defocus at every place of the tilted images.",
    )  # fmt: skip
    low_pass: int = option(
        "-CorrCTF", 15, ge=0, kind="computed", description="deconvolve: how steeply fine detail is damped."
    )
    amplitude_contrast: float | None = option(
        "-AmpContrast", None, kind="computed", ge=0, le=1,
        description="CTF: fraction of amplitude contrast. Unset: that of the series.",
    )  # fmt: skip
    correct_interpolation: bool = option(
        "-IntpCor", True, description="Undo what linear interpolation takes from fine detail."
    )
    white_structure: bool = option(
        "-FlipInt", False, description="Invert the contrast: protein becomes bright."
    )
    halves: bool = option(
        "-SplitSum", True, kind="computed",
        description="Also make even and odd tomograms where the stack has halves.",
    )  # fmt: skip
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


_CORRECTIONS = {"no": 0, "deconvolve": 1, "flip": 2, "multiply": 3}


def calls(series: TiltSeries, params: Aretomo3ReconstructParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run, which makes the halves too. The series is that of the tilts in use."""
    stack, microscope = chosen_stack(series, params.images), series.microscope
    roles = _roles(stack, params)
    method = ["-Wbp", "1"] if params.method == "wbp" else ["-Wbp", "0", "-Sart", *text_of(params.sart)]
    contrast = params.amplitude_contrast
    arguments = [
        "-InPrefix", "stack", "-InSuffix", ".mrc", "-OutDir", "out/", "-Cmd", "2", "-FlipVol", "0",
        "-SplitSum", "1" if len(roles) > 1 else "0",
        "-PixSize", *text_of(stack.pixel_size_angstrom), "-kV", *text_of(round(microscope.voltage_kv)),
        "-Cs", *text_of(microscope.spherical_aberration_mm),
        "-AmpContrast", *text_of(microscope.amplitude_contrast if contrast is None else contrast),
        "-CorrCTF", str(_CORRECTIONS[params.correct_ctf]), str(params.low_pass),
        "-Gpu", str(workplace.gpu or 0),
        "-VolZ", str(even_px(params.thickness_angstrom, stack.pixel_size_angstrom)),
        *method, *arguments_of(params),
    ]  # fmt: skip
    return (
        Call(
            program=ARETOMO3,
            arguments=tuple(arguments),
            files={"stack_TLT.txt": angle_file(series), "out/.folder": ""},
            writes=tuple(f"out/{_NAMES[role]}_Vol.mrc" for role in roles),
        ),
    )


def _roles(stack: Stack, params: Aretomo3ReconstructParams) -> list[str]:
    """Roles that are reconstructed: AreTomo 3 makes both halves or none."""
    both = params.halves and {"even", "odd"} <= set(stack.present)
    return ["images", "even", "odd"] if both else ["images"]


@step(
    "aretomo3_reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=lambda series, params: 8 << 30,
    gpu="optional",
    methods="Tomograms were reconstructed with AreTomo 3.",
    figures=(TILTS_IN_TOMOGRAM,),
    programs=(ARETOMO3,),
    calls=calls,
    beside="reconstruct",
)
def aretomo3_reconstruct(
    series: TiltSeries, params: Aretomo3ReconstructParams, context: StepContext
) -> Tomogram:
    """Make a tomogram, and even and odd ones, with AreTomo 3 from the poses of a series."""
    series = with_defocus_at_origin(series, assume_centred=True)
    if any(tilt.pose is not None and tilt.pose.warp is not None for tilt in series.included):
        context.warn("the local displacements of the images cannot be given to AreTomo and are left out")
    if params.correct_ctf != "no" and any(tilt.ctf is None for tilt in series.included):
        raise DataUnfitError(
            f"not every tilt of {series.name} has a CTF to correct; estimate it, or set correct_ctf no"
        )
    folder, stack = context.scratch(), chosen_stack(series, params.images)
    used = series
    for role in _roles(stack, params):
        half = Stack(stack.present[role], stack.pixel_size_angstrom)
        used = written(series, half, folder / f"{_NAMES[role]}.mrc", least=7)
    unposed = [tilt.acquisition_index for tilt in used.tilts if tilt.pose is None]
    if unposed:
        raise DataUnfitError(f"tilts {unposed} of {series.name} have no pose; align the series first")
    _place_alignment(used, folder)
    given = params.model_copy(update={"images": "unweighted"})
    make_calls(calls(replace(used, stack=stack), given, workplace_of(context)), params, context)
    voxel_size = stack.pixel_size_angstrom * params.binning
    shape = volume_shape(
        folder / "out" / "stack_Vol.mrc", params.thickness_angstrom, params.binning, stack.pixel_size_angstrom
    )
    kept: dict[str, PixelSink] = {}
    for role in _roles(stack, params):
        kept[role] = keep_volume(
            context, ROLES[role], folder / "out" / f"{_NAMES[role]}_Vol.mrc", shape, voxel_size,
            sections_are="y", multiscale=params.multiscale and role == "images",
        )  # fmt: skip
    context.figure("n_tilts", len(used.tilts))
    placed = series_centred_on_voxel(series, shape, voxel_size)
    method = "weighted back-projection (AreTomo 3)" if params.method == "wbp" else "SART (AreTomo 3)"
    return Tomogram(placed, kept["images"], voxel_size, kept.get("even"), kept.get("odd"), method)


def _place_alignment(used: TiltSeries, folder: Path) -> None:
    """``stack.aln`` and, with CTFs, ``stack_CTF.txt``, beside the stack."""
    write_aretomo([(replace(used, name="stack"), None)], folder / "alignment")
    for name in ("stack.aln", "stack_CTF.txt"):
        made = folder / "alignment" / name
        if made.is_file():
            made.replace(folder / name)
