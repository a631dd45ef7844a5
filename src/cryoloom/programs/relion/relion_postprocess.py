"""Judge and sharpen an average with RELION's postprocessing (``relion_postprocess``, RELION 3.1 or later).

The halves are compared within the mask given, or one of RELION's making, and freed of what the mask makes.
The resolution it states is a figure and not that of the average: RELION cannot know that halves agree by an
imposed symmetry or by shells alone, which postprocess looks for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.placement import place_pixels
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import Average, FscCurve, Pixels, no_resolution
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.relion.particle_project import average_of, place_mask
from cryoloom.programs.relion.relion_programs import RELION_POSTPROCESS

__all__ = ["RelionPostprocessParams", "calls", "parse", "relion_postprocess"]

_OUT = "Postprocess/postprocess"
_CURVES = {
    "masked": "rlnFourierShellCorrelationMaskedMaps",
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
    "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "corrected": "rlnFourierShellCorrelationCorrected",
}


class RelionPostprocessParams(ProgramParams):
    """Options of ``relion_postprocess``."""

    mask: Path | None = option(
        "--mask", None, kind="computed",
        description="Mask (.mrc), 0 to 1. Unset: that of the average, or else RELION's own.",
    )  # fmt: skip
    mask_threshold: float = option(
        "--inimask_threshold", 0.02, kind="computed", description="RELION's own mask: density it begins at."
    )
    mask_extend_px: float = option(
        "--extend_inimask", 3.0, ge=0, kind="computed", description="RELION's own mask: how far it reaches."
    )
    mask_edge_px: float = option(
        "--width_mask_edge", 6.0, ge=0, kind="computed", description="RELION's own mask: its soft edge."
    )
    force_mask: bool = option(
        "--force_mask", False, kind="flag", description="Use the mask even where it makes things worse."
    )
    b_factor_angstrom2: float | None = option(
        "--adhoc_bfac", None, kind="computed",
        description="B-factor; negative sharpens. Unset: measured (--auto_bfac).",
    )  # fmt: skip
    b_factor_from_angstrom: float = option(
        "--autob_lowres", 10.0, gt=0, kind="computed", description="Coarsest detail that it is measured from."
    )
    b_factor_to_angstrom: float = option(
        "--autob_highres", 0.0, ge=0, kind="computed",
        description="Finest detail that it is measured from; 0: the resolution.",
    )  # fmt: skip
    skip_fsc_weighting: bool = option(
        "--skip_fsc_weighting", False, kind="flag", description="Do not weight by the halves' agreement."
    )
    lowpass_angstrom: float = option(
        "--low_pass", 0.0, description="Low-pass of the map; 0: none, negative: the resolution."
    )
    randomize_at_fsc: float = option(
        "--randomize_at_fsc", 0.8, gt=0, le=1, description="Correlation from which phases are randomised."
    )
    mtf: Path | None = option(
        "--mtf", None, kind="computed", description="Detector's modulation transfer (STAR). Unset: none."
    )
    mtf_pixel_angstrom: float | None = option(
        "--mtf_angpix", None, gt=0, description="The detector's pixel that it is given for."
    )


def calls(average: Average, params: RelionPostprocessParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run of the program."""
    arguments = [
        "--i", "half1.mrc", "--i2", "half2.mrc", "--o", _OUT,
        "--angpix", *text_of(average.voxel_size_angstrom), *arguments_of(params),
    ]  # fmt: skip
    if params.mask is not None:
        arguments += ["--mask", "given_mask.mrc"]
    elif average.mask is not None:
        arguments += ["--mask", "average_mask.mrc"]
    else:
        arguments += [
            "--auto_mask", "--inimask_threshold", *text_of(params.mask_threshold),
            "--extend_inimask", *text_of(params.mask_extend_px),
            "--width_mask_edge", *text_of(params.mask_edge_px),
        ]  # fmt: skip
    if params.b_factor_angstrom2 is None:
        arguments += [
            "--auto_bfac", "--autob_lowres", *text_of(params.b_factor_from_angstrom),
            "--autob_highres", *text_of(params.b_factor_to_angstrom),
        ]  # fmt: skip
    else:
        arguments += ["--adhoc_bfac", *text_of(params.b_factor_angstrom2)]
    if params.mtf is not None:
        arguments += ["--mtf", "mtf.star"]
    return (
        Call(
            program=RELION_POSTPROCESS,
            arguments=tuple(arguments),
            files={"Postprocess/.folder": ""},  # RELION writes its logfile.pdf there
            writes=(f"{_OUT}.mrc", f"{_OUT}.star"),
        ),
    )


def parse(star: Path) -> tuple[tuple[FscCurve, ...], float, float | None]:
    """Curves, the resolution stated, and the B-factor, of a ``postprocess.star``."""
    blocks = read_blocks(star)
    rows, general = blocks.get("fsc", []), (blocks.get("general") or [{}])[0]
    if not rows or "rlnFinalResolution" not in general:
        raise DataUnfitError(
            f"{star.name} holds no result of a postprocessing (blocks general and fsc); it has "
            f"{sorted(blocks)}"
        )
    frequency = tuple(float(row["rlnResolution"]) for row in rows)
    curves = tuple(
        FscCurve(name, frequency, tuple(float(row[column]) for row in rows))
        for name, column in _CURVES.items()
        if column in rows[0]
    )
    factor = general.get("rlnBfactorUsedForSharpening")
    return curves, float(general["rlnFinalResolution"]), None if factor is None else float(factor)


FIGURES = (
    Figure(
        "stated_resolution_angstrom",
        "angstrom",
        "Resolution that RELION states",
        "Where the masked halves' correlation, less what the mask alone makes, falls to 0.143.",
    ),
    Figure(
        "b_factor_angstrom2",
        "angstrom^2",
        "B-factor",
        "Amplitudes of the map fall as exp(-B k^2 / 4); RELION counts it negative.",
        good="30 to 200",
    ),
)


@step(
    "relion_postprocess",
    per="average",
    needs=Average,
    gives=Average,
    bytes_needed=lambda average, params: (1 << 30) + 100 * average.map.shape[0] ** 3,
    outside=lambda name, params: file_digests([path for path in (params.mask, params.mtf) if path]),
    methods="Averages were sharpened with RELION's postprocessing.",
    figures=FIGURES,
    programs=(RELION_POSTPROCESS,),
    calls=calls,
    beside="postprocess",
)
def relion_postprocess(average: Average, params: RelionPostprocessParams, context: StepContext) -> Average:
    """Judge an average within a mask and sharpen it, with RELION."""
    if average.half1 is None or average.half2 is None:
        raise DataUnfitError(
            f"the average {average.name} has no halves to compare; give relion_postprocess one of refine or "
            "reconstruct_particle"
        )
    folder, voxel = context.scratch(), average.voxel_size_angstrom
    placed: dict[str, Pixels | None] = {
        "half1": average.half1, "half2": average.half2, "average_mask": average.mask
    }  # fmt: skip
    for name, pixels in placed.items():
        if pixels is not None:
            place_pixels(pixels, folder / f"{name}.mrc", voxel, kind="volume", link=False)
    place_mask(params.mask, folder / "given_mask.mrc", "relion_postprocess")
    if params.mtf is not None:
        (folder / "mtf.star").write_bytes(params.mtf.read_bytes())
    make_calls(calls(average, params, workplace_of(context)), params, context)
    curves, stated, factor = parse(folder / f"{_OUT}.star")
    context.figure("stated_resolution_angstrom", stated)
    if average.pose_doubt:
        context.warn(
            f"RELION's resolution compares the halves alone, and {no_resolution(average.pose_doubt)}"
        )
    context.figure(
        "b_factor_angstrom2", None if factor is None else -factor, reason="RELION could not measure it"
    )
    volumes = {
        "map": folder / f"{_OUT}.mrc",
        "half1": folder / "half1.mrc",
        "half2": folder / "half2.mrc",
    }
    if (folder / f"{_OUT}_automask.mrc").is_file():
        volumes["mask"] = folder / f"{_OUT}_automask.mrc"
    elif params.mask is not None or average.mask is not None:
        volumes["mask"] = folder / ("given_mask.mrc" if params.mask is not None else "average_mask.mrc")
    made = average_of(
        volumes,
        context,
        symmetry=average.symmetry,
        diameter_angstrom=average.diameter_angstrom,
        n_particles=average.n_particles,
        curves=curves,
        note=average.resolution_note,
        pose_doubt=average.pose_doubt,
    )
    return replace(made, name=average.name, resolution_angstrom=average.resolution_angstrom)
