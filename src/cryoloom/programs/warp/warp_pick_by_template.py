"""Pick particles with WarpTools' template matching (``ts_template_match``), with their rotations.

Warp reconstructs the tomogram it searches from the exported series. Its volume is mirrored in z against ours,
``r_warp = M r``, so the template is given mirrored (``--template_flip``, in x: ``T_flip(s) = T(F s)``). Where
Warp finds the rotation ``Q`` at ``r_warp``, ours is ``M Q F``, which shows the template as it is. Positions
in its table are parts of the volume's extent, counted from the corner.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract import Column, Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.placement import place_pixels
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.formats.warp.tilt_series import write_warp
from cryoloom.geometry.rotations import matrix_from_euler_zyz_deg
from cryoloom.model import Average, ParticleRows, Particles, Tomogram
from cryoloom.procedures.placed_particles import particles_in
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.warp.warp_reconstruct import volume_name
from cryoloom.programs.warp.warptools import WARPTOOLS, tilt_series_settings

__all__ = ["WarpPickByTemplateParams", "calls", "parse", "warp_pick_by_template"]

_SETTINGS, _NAME, _TEMPLATE, _SUFFIX = "tiltseries.settings", "stack", "template.mrc", "picks"
_MIRROR_Z, _FLIP_X = np.diag([1.0, 1.0, -1.0]), np.diag([-1.0, 1.0, 1.0])
"""The mirror of Warp's volumes, and that of the template it is given (see above)."""
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")


class WarpPickByTemplateParams(ProgramParams):
    """Options of WarpTools' ts_reconstruct, ts_template_match and threshold_picks."""

    template: Path | None = setting(None, description="Map of the particle (.mrc, .map), bright.")
    diameter_angstrom: int = option("--template_diameter", 200, gt=0, description="Particle's diameter.")
    symmetry: str = option("--symmetry", "C1", description="Symmetry of the template.")
    voxel_size_angstrom: float = option(
        "--tomo_angpix", 10.0, gt=0, kind="computed", description="Voxel size of the search."
    )
    subdivisions: int = option(
        "--subdivisions", 3, ge=0, le=6, description="Angular step: 3 is 7.5 degrees, one more halves it."
    )
    tilt_range_deg: float | None = option(
        "--tilt_range", None, ge=0, le=90,
        description="Largest angle between the template's z axis and the plane of the specimen.",
    )  # fmt: skip
    batch_angles: int = option("--batch_angles", 8, ge=1, description="Rotations tried at once.")
    distance_angstrom: int | None = option(
        "--peak_distance", None, gt=0, description="Least distance of particles; unset: the diameter."
    )
    max_particles: int = option("--npeaks", 2000, ge=1, description="Most peaks that are kept.")
    whiten: bool = option("--whiten", False, kind="flag", description="Flatten the spectrum of the noise.")
    low_pass: float = option(
        "--lowpass", 1.0, gt=0, le=1, description="Low-pass filter, as a part of Nyquist's frequency."
    )
    low_pass_sigma: float = option("--lowpass_sigma", 0.1, ge=0, description="Its fall-off.")
    max_missing_tilts: int = option(
        "--max_missing_tilts", 2, ge=0, description="Most tilts that may not show a particle."
    )
    part_px: int = option("--subvolume_size", 192, ge=64, description="Side of the parts searched.")
    least_score: float = option(
        "--minimum", 5.0, kind="computed", description="Least score, in deviations of all scores."
    )
    species: str = setting("", description="Name of what is picked; unset: the template's.")


def calls(tomogram: Tomogram, params: WarpPickByTemplateParams, workplace: Workplace) -> tuple[Call, ...]:
    """The settings, the tomogram, the search, and picks above the threshold."""
    volume = volume_name(_NAME, params.voxel_size_angstrom)
    n_z, n_y, n_x = (n * tomogram.voxel_size_angstrom for n in tomogram.volume.shape)
    device = ("--device_list", str(workplace.gpu or 0))
    suffix = f"{params.voxel_size_angstrom:.2f}Apx_{_SUFFIX}"
    return (
        tilt_series_settings(_SETTINGS, tomogram.series, _NAME, (n_x, n_y, n_z)),
        Call(
            program=WARPTOOLS,
            arguments=(
                "ts_reconstruct", "--settings", _SETTINGS, "--angpix", *text_of(params.voxel_size_angstrom),
                *device,
            ),
            writes=(f"warp_tiltseries/reconstruction/{volume}.mrc",),
        ),
        Call(
            program=WARPTOOLS,
            arguments=(
                "ts_template_match", "--settings", _SETTINGS,
                "--tomo_angpix", *text_of(params.voxel_size_angstrom),
                "--template_path", _TEMPLATE, "--template_flip", "--override_suffix", f"_{_SUFFIX}",
                *device, *arguments_of(params),
            ),
            writes=(f"warp_tiltseries/matching/{_NAME}_{suffix}.star",),
        ),
        Call(
            program=WARPTOOLS,
            arguments=(
                "threshold_picks", "--settings", _SETTINGS, "--in_suffix", suffix, "--out_suffix", "clean",
                "--minimum", *text_of(params.least_score),
            ),
            writes=(f"warp_tiltseries/matching/{_NAME}_{suffix}_clean.star",),
        ),
    )  # fmt: skip


def parse(path: Path, tomogram: Tomogram) -> ParticleRows:
    """Particles of Warp's table in our frame, the best first."""
    rows = next(iter(read_blocks(path).values()), [])
    try:
        parts = np.array([[float(row[f"rlnCoordinate{axis}"]) for axis in "XYZ"] for row in rows])
        angles = np.array([[float(row[name]) for name in _ANGLES] for row in rows])
        score = np.array([float(row["rlnAutopickFigureOfMerit"]) for row in rows])
    except (KeyError, ValueError) as error:
        raise DataUnfitError(f"{path.name} is not a table of picks of WarpTools ({error})") from error
    if not all(np.isfinite(values).all() for values in (parts, angles, score)):
        raise DataUnfitError(
            f"{path.name} holds positions, angles or scores that are not finite; the result is not used"
        )
    parts, angles = parts.reshape(-1, 3), angles.reshape(-1, 3)
    if len(parts) and (parts.min() < 0 or parts.max() > 1):
        raise DataUnfitError(
            f"{path.name} has coordinates from {parts.min():g} to {parts.max():g}, expected parts of the "
            "volume between 0 and 1; the result is not used"
        )
    extent = np.array([n * tomogram.voxel_size_angstrom for n in tomogram.volume.shape[::-1]])
    order = np.argsort(-score, kind="stable")
    turned = matrix_from_euler_zyz_deg(*angles[order].T).reshape(-1, 3, 3)
    return ParticleRows.of(
        tomogram.name,
        (parts[order] - 0.5) * extent @ _MIRROR_Z,
        rotations=_MIRROR_Z @ turned @ _FLIP_X,
        score=score[order],
    )


@step(
    "warp_pick_by_template",
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: 16 << 30,
    gpu="optional",
    outside=lambda name, params: file_digests([params.template] if params.template else []),
    methods="Particles were picked with WarpTools' template matching ({total_n_particles:.0f} particles).",
    figures=(
        Figure(
            "n_particles",
            "particles",
            "Particles",
            "Peaks above the score.",
            column=Column("Particles", digits=0),
        ),
        Figure("median_score", "", "Median score", "In deviations of all scores."),
    ),
    programs=(WARPTOOLS,),
    calls=calls,
    beside="pick_by_template",
)
def warp_pick_by_template(
    tomogram: Tomogram, params: WarpPickByTemplateParams, context: StepContext
) -> Particles:
    """Pick particles and their rotations with WarpTools' template matching."""
    if params.template is None or not params.template.is_file():
        raise UserInputError(
            f"the template {params.template} is not there; give a map as template of warp_pick_by_template"
        )
    series = with_defocus_at_origin(tomogram.series, assume_centred=True)
    if any(tilt.ctf is None for tilt in series.included):
        raise DataUnfitError(
            f"not every tilt of {series.name} has a CTF, which Warp needs; estimate it first"
        )
    folder, pixels = context.scratch(), MrcPixels(params.template)
    place_pixels(pixels, folder / _TEMPLATE, pixels.pixel_size_angstrom, kind="volume", link=False)
    write_warp([(replace(series, name=_NAME), tomogram)], folder)
    made = calls(tomogram, params, workplace_of(context))
    make_calls(made, params, context)
    rows = parse(folder / made[-1].writes[0], tomogram)
    context.figure("n_particles", rows.n)
    context.figure(
        "median_score", float(np.median(rows.score)) if rows.n and rows.score is not None else None,
        reason="no particle was found",
    )  # fmt: skip
    if not rows.n:
        context.warn(f"no particle of {tomogram.name} reaches the score {params.least_score:g}; lower it")
    sink = context.new_pixels("template", pixels.shape, pixels.pixel_size_angstrom, kind="volume")
    sink[...] = np.asarray(pixels[...], dtype=np.float32)
    name = params.template.name.split(".")[0]
    template = Average(
        name, sink, pixels.pixel_size_angstrom, symmetry=params.symmetry,
        diameter_angstrom=float(params.diameter_angstrom),
    )  # fmt: skip
    return particles_in(
        tomogram,
        rows,
        context,
        template=template,
        species=params.species or name,
        diameter_angstrom=float(params.diameter_angstrom),
        symmetry=params.symmetry,
    )
