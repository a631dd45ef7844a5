"""A RELION 5 project of particles in the scratch folder, and RELION's answers read back.

The files are those of an export (`formats.relion`), so what RELION is given is what users are given. Averages
and masks get short fixed names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.step import StepContext
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.placement import place_pixels
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.particle_export import write_relion5_particles
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.formats.relion.relion5 import lists_series, read_relion5_tilt_series, write_relion5
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import (
    Average,
    FscCurve,
    ParticleRows,
    Particles,
    PixelSink,
    Tilt,
    TiltSeries,
    doubts_of,
)

__all__ = [
    "PROJECT",
    "average_of",
    "gold_standard_curve",
    "particle_keys",
    "place_mask",
    "place_project",
    "place_reference",
    "place_refined",
    "refined_particles",
    "set_of",
    "tilts_of_project",
]

PROJECT = "optimisation_set.star"


def place_project(
    items: Sequence[Particles], averages: Sequence[Average], folder: Path, context: StepContext
) -> None:
    """Write series, tomograms, particles and averages as a RELION 5 project with ``folder`` as its place."""
    tomograms = {tomogram.name: tomogram for item in items for tomogram in item.tomograms}
    series = {one.name: one for item in items for one in item.series}
    write_relion5([(one, tomograms.get(name)) for name, one in sorted(series.items())], folder)
    _, notes = write_relion5_particles(items, averages, folder, set(series))
    for note in notes:
        context.warn(note)


def place_refined(
    items: Sequence[Particles], averages: Sequence[Average], context: StepContext, step: str
) -> Path:
    """The scratch folder, with a project whose averages have halves to compare particles with.

    Raises DataUnfitError if an average has none.
    """
    if any(one.half1 is None or one.half2 is None for one in averages):
        raise DataUnfitError(f"the average has no halves; give {step} that of a refinement")
    folder = context.scratch()
    place_project(items, averages, folder, context)
    return folder


def place_reference(
    items: Sequence[Particles], given: Path | None, path: Path, step: str
) -> tuple[float, int]:
    """Put the first map there: the file given, else what the particles were picked with.

    Gives its voxel size and side. Raises UserInputError if there is none.
    """
    if given is not None:
        if not given.is_file():
            raise UserInputError(f"the reference {given} is not there; correct reference of {step}")
        pixels = MrcPixels(given)
        place_pixels(pixels, path, pixels.pixel_size_angstrom, kind="volume", link=False)
        return pixels.pixel_size_angstrom, pixels.shape[0]
    template = next((item.template for item in items if item.template is not None), None)
    if template is None:
        raise UserInputError(
            f"there is no first map: the particles were not picked with one; set reference of {step}, or run "
            "relion_initial_model before"
        )
    place_pixels(template.map, path, template.voxel_size_angstrom, kind="volume", link=False)
    return template.voxel_size_angstrom, template.map.shape[0]


def place_mask(given: Path | None, path: Path, step: str) -> None:
    """Put the user's mask there, where there is one."""
    if given is None:
        return
    if not given.is_file():
        raise UserInputError(f"the mask {given} is not there; correct mask of {step}")
    pixels = MrcPixels(given)
    place_pixels(pixels, path, pixels.pixel_size_angstrom, kind="volume", link=False)


def average_of(
    volumes: Mapping[str, Path],
    context: StepContext,
    *,
    symmetry: str,
    diameter_angstrom: float | None,
    n_particles: int | None = None,
    curves: tuple[FscCurve, ...] = (),
    note: str = "",
    pose_doubt: str = "",
) -> Average:
    """An average of the maps that RELION wrote, by role. Raises DataUnfitError if their sizes differ."""
    kept: dict[str, PixelSink] = {}
    voxel = 0.0
    for role, path in volumes.items():
        pixels = MrcPixels(path)
        voxel = voxel or pixels.pixel_size_angstrom
        if "map" in kept and pixels.shape != kept["map"].shape:
            raise DataUnfitError(
                f"{path.name} has the shape {pixels.shape}, expected {kept['map'].shape} as of the map"
            )
        sink = context.new_pixels(role, pixels.shape, voxel, kind="volume")
        sink[...] = np.asarray(pixels[...], dtype=np.float32)
        kept[role] = sink
    return Average(
        context.item_name,
        kept["map"],
        voxel,
        symmetry=symmetry,
        half1=kept.get("half1"),
        half2=kept.get("half2"),
        mask=kept.get("mask"),
        curves=curves,
        resolution_note=note,
        n_particles=n_particles,
        diameter_angstrom=diameter_angstrom,
        pose_doubt=pose_doubt,
    )


def gold_standard_curve(model_star: Path) -> tuple[FscCurve, float | None]:
    """The halves' unmasked correlation of a ``run_model.star``, and the resolution that RELION states."""
    blocks = read_blocks(model_star)
    rows = blocks.get("model_class_1", [])
    if not rows or "rlnGoldStandardFsc" not in rows[0]:
        raise DataUnfitError(
            f"{model_star.name} holds no correlation of halves (block model_class_1, rlnGoldStandardFsc); "
            f"it has the blocks {sorted(blocks)}"
        )
    frequency = tuple(float(row["rlnResolution"]) for row in rows)
    curve = FscCurve("unmasked", frequency, tuple(float(row["rlnGoldStandardFsc"]) for row in rows))
    general = (blocks.get("model_general") or [{}])[0]
    stated = general.get("rlnCurrentResolution")
    return curve, None if stated is None else float(stated)


def particle_keys(star: Path) -> list[tuple[str, int]]:
    """Tomogram and number of every particle of a table, from the names that RELION was given for them.

    Raises DataUnfitError if a name is missing, is none of ours, or comes twice.
    """
    keys = []
    for row in read_blocks(star).get("particles", []):
        tomogram, _, number = str(row.get("rlnTomoParticleName", "")).rpartition("/")
        if not tomogram or not number.isdigit():
            raise DataUnfitError(
                f"{star.name} names a particle {row.get('rlnTomoParticleName')!r}, expected TOMOGRAM/NUMBER; "
                "the result is not used"
            )
        keys.append((tomogram, int(number)))
    if len(set(keys)) != len(keys):
        raise DataUnfitError(f"{star.name} names particles twice; the result is not used")
    return keys


def refined_particles(
    items: Sequence[Particles], star: Path, context: StepContext, *, symmetry: str | None = None
) -> tuple[Particles, ...]:
    """Particles of each tomogram with the poses that RELION gave them; those it dropped are gone.

    Particles are matched by name (``rlnTomoParticleName``), so their numbers and all that RELION does not
    know of them stay. Raises DataUnfitError if RELION names a particle that it was not given.
    """
    found = read_relion_particles(star)
    place = {key: i for i, key in enumerate(particle_keys(star))}
    made, n_matched = [], 0
    for item in items:
        rows = item.rows()
        at = [
            place.get((str(name), int(number)), -1)
            for name, number in zip(rows.tomogram, rows.particle, strict=True)
        ]
        index = np.array(at, dtype=np.int64)
        kept = rows.take(np.flatnonzero(index >= 0))
        n_matched += kept.n
        table = context.new_table(
            f"particles_{item.name}", _with_poses(kept, found.take(index[index >= 0])).columns()
        )
        made.append(replace(item, table=table, images=(), symmetry=symmetry or item.symmetry))
    if n_matched != found.n:
        raise DataUnfitError(
            f"{star.name} holds {found.n} particles, of which RELION was given {n_matched}; "
            "the result is not used"
        )
    return tuple(made)


def _with_poses(rows: ParticleRows, found: ParticleRows) -> ParticleRows:
    changes: dict[str, NDArray[Any] | None] = {
        "positions_xyz_angstrom": found.positions_xyz_angstrom,
        "rotations": found.rotations,
    }
    for name in ("half", "class_number", "score"):
        if getattr(found, name) is not None:
            changes[name] = getattr(found, name)
    return replace(rows, **changes)  # type: ignore[arg-type]


def tilts_of_project(
    items: Sequence[Particles], star: Path
) -> list[tuple[TiltSeries, list[tuple[Tilt, Tilt]]]]:
    """Every series that RELION changed, and its tilts in use: before, and as RELION has them.

    Tilts are matched by the section of the stack, so nothing is shifted by one. Raises DataUnfitError where
    a tilt is missing.
    """
    series = {one.name: one for item in items for one in item.series}
    pairs = []
    for name, one in sorted(series.items()):
        if not lists_series(star, name):
            continue
        by_section = {tilt.section: tilt for tilt in read_relion5_tilt_series(star, name).tilts}
        missing = [tilt.acquisition_index for tilt in one.included if tilt.section not in by_section]
        if missing:
            raise DataUnfitError(f"{star.name} lacks the tilts {missing} of {name}; the result is not used")
        pairs.append((one, [(tilt, by_section[tilt.section]) for tilt in one.included]))
    if not pairs:
        raise DataUnfitError(f"{star.name} names none of the series {sorted(series)}; the result is not used")
    return pairs


def set_of(items: Sequence[Particles], changed: Mapping[str, TiltSeries], context: StepContext) -> Particles:
    """All particles as one set, with the series that changed."""
    rows = ParticleRows.joined([item.rows() for item in items if item.n_particles])
    series = {one.name: changed.get(one.name, one) for item in items for one in item.series}
    doubt, reference = doubts_of(items)
    return replace(
        items[0],
        name=context.item_name,
        table=context.new_table("particles", rows.columns()),
        series=tuple(series[name] for name in sorted(series)),
        tomograms=(),
        images=(),
        pose_doubt=doubt,
        common_reference=reference,
    )
