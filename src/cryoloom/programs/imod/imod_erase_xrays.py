"""Erase X-ray hits with IMOD's ccderaser, in the images and in each of their halves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option
from cryoloom.contract.step import StepContext, step
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Stack, TiltSeries
from cryoloom.programs.handover import ProgramParams, keep_stack, make_calls, place_float32, workplace_of
from cryoloom.programs.imod.imod_programs import CCDERASER
from cryoloom.programs.included_tilts import pixels_of_image

__all__ = ["ImodEraseXraysParams", "calls", "imod_erase_xrays"]


class ImodEraseXraysParams(ProgramParams):
    """Options of ccderaser; criteria are in standard deviations. The defaults are those of the tutorials."""

    peak_sigma: float = option("-PeakCriterion", 8.0, gt=0, description="How far a spot's peak stands out.")
    difference_sigma: float = option(
        "-DiffCriterion", 6.0, gt=0, description="How far a pixel stands above its neighbours."
    )
    grow_sigma: float = option("-GrowCriterion", 4.0, gt=0, description="What belongs to a spot.")
    scan_sigma: float = option("-ScanCriterion", 3.0, gt=0, description="What a first scan takes up.")
    radius_px: float = option("-MaximumRadius", 4.2, gt=0, description="Largest radius of a spot.")
    giant_sigma: float = option("-GiantCriterion", 12.0, gt=0, description="Peak of an extra-large spot.")
    giant_radius_px: float = option(
        "-ExtraLargeRadius", 8.0, gt=0, description="Largest radius of an extra-large spot."
    )
    giant_difference_sigma: float = option(
        "-BigDiffCriterion", 19.0, gt=0, description="Difference that an extra-large spot has somewhere."
    )
    annulus_px: float = option("-AnnulusWidth", 2.0, gt=0, description="Width of the ring around a spot.")
    scan_size_px: int = option("-XYScanSize", 100, ge=10, description="Size of the regions scanned.")
    edge_px: int = option("-EdgeExclusionWidth", 4, ge=0, description="Margin that is left alone.")
    border_px: int = option("-BorderSize", 2, ge=1, description="Border that the replacement is fitted to.")
    polynomial_order: int = option(
        "-PolynomialOrder", 2, ge=0, le=3, description="Order of the polynomial fitted to the border."
    )


def calls(series: TiltSeries, params: ImodEraseXraysParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for the images and one for each half."""
    return tuple(
        Call(
            program=CCDERASER,
            arguments=(
                "-InputFile", f"{name}.mrc", "-OutputFile", f"{name}_erased.mrc", "-FindPeaks",
                "-PointModel", f"{name}_peaks.mod", *arguments_of(params),
            ),
            writes=(f"{name}_erased.mrc",),
        )
        for name in series.unweighted_stack.present
    )  # fmt: skip


FIGURES = (
    Figure(
        "changed_pixels_per_megapixel",
        "per million",
        "Pixels replaced",
        "Pixels of the images that ccderaser changed.",
        good="below 100",
    ),
)


@step(
    "imod_erase_xrays",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: (1 << 28) + 40 * pixels_of_image(series.unweighted_stack),
    ignores_exclusions=True,
    methods="X-ray hits were erased with ccderaser of IMOD.",
    figures=FIGURES,
    programs=(CCDERASER,),
    calls=calls,
    beside="erase_xrays",
)
def imod_erase_xrays(series: TiltSeries, params: ImodEraseXraysParams, context: StepContext) -> TiltSeries:
    """Replace X-ray hits in the images and their halves with ccderaser. Weighted images are dropped."""
    stack, folder = series.unweighted_stack, context.scratch()
    for name, pixels in stack.present.items():
        place_float32(pixels, folder / f"{name}.mrc", stack.pixel_size_angstrom)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    made = {
        name: keep_stack(
            context, name, folder / f"{name}_erased.mrc", pixels.shape, stack.pixel_size_angstrom
        )
        for name, pixels in stack.present.items()
    }
    context.figure(
        "changed_pixels_per_megapixel", _changed(folder / "images.mrc", folder / "images_erased.mrc")
    )
    erased = Stack(
        made["images"], stack.pixel_size_angstrom, made.get("even"), made.get("odd"), stack.ctf_correction
    )
    return replace(series, stack=erased, weighted=None, corrected=None)


def _changed(before: Path, after: Path) -> float:
    """Pixels per million that differ."""
    first, second = MrcPixels(before), MrcPixels(after)
    n_changed = sum(int((first[i] != second[i]).sum()) for i in range(first.shape[0]))
    return 1e6 * n_changed / (first.shape[0] * first.shape[1] * first.shape[2])
