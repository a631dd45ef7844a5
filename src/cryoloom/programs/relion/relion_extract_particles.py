"""Cut particles out of their tilt images with RELION 5 (``relion_tomo_subtomo``): stacks or volumes.

RELION cuts each particle at its refined position, so the remaining offset is 0 afterwards. Stacks hold the
tilts that show the particle; both are multiplied by the CTF unless it is left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.figures import Column, Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.formats.relion.star_tables import Row, read_blocks
from cryoloom.geometry.rotations import matrix_from_euler_zyz_deg
from cryoloom.model import ExtractedImages, Particles, PixelSink, TiltSeries
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.relion.particle_project import PROJECT, particle_keys, place_project
from cryoloom.programs.relion.relion_programs import RELION_TOMO_SUBTOMO

__all__ = ["RelionExtractParticlesParams", "calls", "relion_extract_particles"]

_OUT = "Extract/"
_SUBTOMOGRAM = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")


class RelionExtractParticlesParams(ProgramParams):
    """Options of ``relion_tomo_subtomo``."""

    binning: float = option("--bin", 1.0, ge=1, description="Stack pixels per pixel.")
    box_px: int = option(
        "--b", 128, ge=16, description="Side in which the CTF is multiplied, binned pixels; even."
    )
    crop_px: int = option("--crop", 64, ge=16, description="Side that is kept, binned pixels; even.")
    output: Literal["stacks", "volumes"] = option(
        "--stack2d", "stacks", kind="computed", description="Images of every tilt, or volumes made of them."
    )
    multiply_ctf: bool = option("--no_ctf", True, kind="computed", description="Multiply by the CTF.")
    max_dose_per_angstrom2: float = option(
        "--max_dose", -1.0, description="Leave out tilts after this dose; negative: none."
    )
    min_tilts: int = option(
        "--min_frames", 1, ge=1, description="Tilts of least dose that must show a particle."
    )
    float16: bool = option("--float16", False, kind="flag", description="Write 16-bit floats.")
    whiten: bool = option("--whiten", False, kind="flag", description="Flatten the noise's spectrum.")
    circle_crop: bool = option(
        "--no_circle_crop", True, kind="computed", description="Cut images to a circle."
    )


def calls(
    particles: Particles, params: RelionExtractParticlesParams, workplace: Workplace
) -> tuple[Call, ...]:
    """One run over the particles of the project in the scratch folder."""
    flags = ["--stack2d"] if params.output == "stacks" else []
    flags += [] if params.multiply_ctf else ["--no_ctf"]
    flags += [] if params.circle_crop else ["--no_circle_crop"]
    return (
        Call(
            program=RELION_TOMO_SUBTOMO,
            arguments=(
                "--i", PROJECT, "--o", _OUT, "--j", str(workplace.n_threads), *arguments_of(params), *flags,
            ),
            writes=(f"{_OUT}particles.star",),
        ),
    )  # fmt: skip


FIGURES = (
    Figure(
        "n_particles",
        "particles",
        "Particles extracted",
        "Particles that enough tilts show.",
        column=Column("Extracted", digits=0),
    ),
    Figure("n_left_out", "particles", "Not extracted", "Particles that RELION left out."),
    Figure("pixel_size_angstrom", "angstrom", "Pixel size", "After binning."),
)


@step(
    "relion_extract_particles",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    bytes_needed=lambda particles, params: (2 << 30) + 100 * params.box_px**3,
    methods="Particles were extracted with RELION (binning {binning:g}).",
    figures=FIGURES,
    programs=(RELION_TOMO_SUBTOMO,),
    calls=calls,
    beside="extract_particles",
)
def relion_extract_particles(
    particles: Particles, params: RelionExtractParticlesParams, context: StepContext
) -> Particles:
    """Cut particles out of their tilt images with RELION."""
    if not particles.n_particles:
        context.warn(f"{particles.name} has no particles to extract")
        return particles
    folder = context.scratch()
    place_project((replace(particles, images=()),), (), folder, context)
    make_calls(calls(particles, params, workplace_of(context)), params, context)
    star = folder / _OUT / "particles.star"
    cut = read_relion_particles(star)
    star_rows = read_blocks(star)["particles"]
    rows = particles.rows()
    at = {
        (str(name), int(number)): i
        for i, (name, number) in enumerate(zip(rows.tomogram, rows.particle, strict=True))
    }
    keys = particle_keys(star)
    index = [at.get(key, -1) for key in keys]
    if -1 in index:
        raise DataUnfitError(f"{star.name} names particles that RELION was not given; the result is not used")
    kept = rows.take(np.array(index, dtype=np.int64))
    numbers = np.array([number for _, number in keys], dtype=np.int64)
    images = [
        _images_of(series, np.flatnonzero(cut.tomogram == series.name), numbers,
                   cut.positions_xyz_angstrom, star_rows, folder, params, context)
        for series in particles.series
        if (cut.tomogram == series.name).any()
    ]  # fmt: skip
    context.figure("n_particles", kept.n)
    context.figure("n_left_out", rows.n - kept.n)
    context.figure("pixel_size_angstrom", images[0].pixel_size_angstrom)
    return replace(particles, table=context.new_table("particles", kept.columns()), images=tuple(images))


def _images_of(
    series: TiltSeries,
    mine: NDArray[np.int64],
    numbers: NDArray[np.int64],
    places: NDArray[np.float64],
    star_rows: list[Row],
    folder: Path,
    params: RelionExtractParticlesParams,
    context: StepContext,
) -> ExtractedImages:
    """Stacks or volumes of one series' particles, one after the other, and the tilts that are in them."""
    own = [star_rows[int(i)] for i in mine]
    tilts = np.array([tilt.acquisition_index for tilt in series.included])
    sections: dict[str, list[int]] = defaultdict(list)
    for i, row in zip(mine, own, strict=True):
        shown = np.array(json.loads(str(row.get("rlnTomoVisibleFrames", [1] * len(tilts)))), dtype=bool)
        if len(shown) != len(tilts):
            raise DataUnfitError(
                f"RELION tells of {len(shown)} tilts of {series.name}, which has {len(tilts)} in use; "
                "the result is not used"
            )
        sections["particle"] += [int(numbers[i])] * int(shown.sum())
        sections["acquisition_index"] += tilts[shown].tolist()
    pixel = series.unweighted_stack.pixel_size_angstrom * params.binning
    first = "stacks" if params.output == "stacks" else "volumes"
    pixels = _joined(f"{first}_{series.name}", "rlnImageName", own, folder, pixel, params, context)
    weights = None
    if params.output == "volumes":
        weights = _joined(f"weights_{series.name}", "rlnCtfImage", own, folder, 1.0 / pixel, params, context)
    elif pixels.shape[0] != len(sections["particle"]):
        raise DataUnfitError(
            f"RELION wrote {pixels.shape[0]} images of {series.name}, but tells of "
            f"{len(sections['particle'])}; the result is not used"
        )
    angles = np.array([[float(row.get(name, 0.0)) for name in _SUBTOMOGRAM] for row in own])
    frames = matrix_from_euler_zyz_deg(*angles.T)
    columns: dict[str, NDArray[Any]] = {"particle": numbers[mine]}
    columns |= {f"{axis}_angstrom": places[mine, i] for i, axis in enumerate("xyz")}
    columns |= {f"f{i}{j}": frames[:, i, j] for i in range(3) for j in range(3)}
    return ExtractedImages(
        series=series.name,
        pixels=pixels,
        particles=context.new_table(f"extracted_{series.name}", columns),
        sections=context.new_table(
            f"sections_{series.name}", {name: np.array(values) for name, values in sections.items()}
        ),
        pixel_size_angstrom=pixel,
        binning=params.binning,
        box_px=params.box_px,
        crop_px=params.crop_px,
        ctf_multiplied=params.multiply_ctf,
        weights=weights,
    )


def _joined(
    role: str,
    column: str,
    rows: list[Row],
    folder: Path,
    pixel_size_angstrom: float,
    params: RelionExtractParticlesParams,
    context: StepContext,
) -> PixelSink:
    """RELION's files of one series' particles as one stack. Raises DataUnfitError if a side is wrong."""
    files = [MrcPixels(folder / str(row[column])) for row in rows]
    side = params.crop_px
    wrong = [f"{pixels.path.name} {pixels.shape}" for pixels in files if pixels.shape[1] != side]
    if wrong:
        raise DataUnfitError(
            f"RELION wrote {wrong[0]} (sections, rows, columns), expected {side} rows; the result is not used"
        )
    shape = (sum(pixels.shape[0] for pixels in files), *files[0].shape[1:])
    sink = context.new_pixels(
        role, shape, pixel_size_angstrom, dtype="float16" if params.float16 else "float32"
    )
    done = 0
    for pixels in files:
        sink[done : done + pixels.shape[0]] = pixels[...]
        done += pixels.shape[0]
    return sink
