"""Particles and averages beside the tilt series of a RELION 5 project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.placement import place_pixels
from cryoloom.formats.relion.extracted_files import write_extracted, write_trajectories
from cryoloom.formats.relion.particles import (
    RelionOptics,
    not_carried,
    read_relion_particles,
    write_relion_particles,
)
from cryoloom.model import Average, ParticleRows, Particles, doubt_of, no_resolution

__all__ = ["write_relion5_particles"]

# Entries of an optimisation set, and the parts of an average they name.
_AVERAGE_ENTRIES = {
    "rlnTomoReferenceMap1File": "half1",
    "rlnTomoReferenceMap2File": "half2",
    "rlnTomoReferenceMaskFile": "mask",
}


def write_relion5_particles(
    particles: Sequence[Particles],
    averages: Sequence[Average],
    directory: Path,
    series_names: set[str],
    *,
    link: bool = True,
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """``particles.star``, ``optimisation_set.star`` and ``averages/`` beside what `write_relion5` wrote.

    Where particles were extracted (`steps.extract_particles`), their stacks or volumes as well; where poses
    have a local alignment, ``motion.star``. series_names : those the project has; particles of others are
    left out. Gives the files, and what the user must know. The particles are read again: a count or a
    position that differs raises DataUnfitError.
    """
    rows = ParticleRows.joined([item.rows() for item in particles if item.n_particles])
    rows = rows.take(np.isin(rows.tomogram, sorted(series_names)))
    if not rows.n:
        raise DataUnfitError(f"no particle is in an exported series: {sorted(series_names)}")
    optics = {}
    for item in particles:
        for one in item.series:
            microscope = one.microscope
            optics[one.name] = RelionOptics(
                "optics1",
                microscope.voltage_kv,
                microscope.spherical_aberration_mm,
                microscope.amplitude_contrast,
                one.unweighted_stack.pixel_size_angstrom,
            )
    files: list[Path] = []
    entries: dict[str, str] = {}
    for average in averages:
        for role in ("map", "half1", "half2", "mask", "local_resolution"):
            pixels = getattr(average, role)
            if pixels is None:
                continue
            path = directory / "averages" / f"{average.name}_{role}.mrc"
            files.append(place_pixels(pixels, path, average.voxel_size_angstrom, link=link, kind="volume"))
        if average is averages[0]:
            entries = {
                entry: f"averages/{average.name}_{role}.mrc"
                for entry, role in _AVERAGE_ENTRIES.items()
                if getattr(average, role) is not None
            }
    table = "tomograms.star" if (directory / "tomograms.star").is_file() else "tilt_series.star"
    images = None
    notes: list[str] = []
    if any(item.images for item in particles):
        n_before = rows.n
        images, rows, made = write_extracted(directory, rows, particles)
        files += made
        if rows.n < n_before:
            notes.append(
                f"{n_before - rows.n} of {n_before} particles were not extracted and are left out of "
                "particles.star; extract them too, or export a result without extracted images"
            )
    if doubt := doubt_of(particles):
        notes.append(no_resolution(doubt))
    if lost := not_carried(rows):
        notes.append(f"particles.star cannot store, at least for some particles: {', '.join(lost)}")
    series = [one for item in particles for one in item.series]
    trajectories = write_trajectories(directory / "motion.star", rows, series)
    if trajectories is not None:
        entries["rlnTomoTrajectoriesFile"] = trajectories.name
        files.append(trajectories)
        notes.append(
            "motion.star contains the local alignment as displacements of every particle in every tilt; "
            "use the optimisation set in RELION's jobs, which refers to this file"
        )
    files += write_relion_particles(
        directory, rows, optics, tomograms_star=table, averages=entries, images=images
    )
    found = read_relion_particles(directory / "particles.star")
    if found.n != rows.n or np.abs(found.positions_xyz_angstrom - rows.positions_xyz_angstrom).max() > 1e-3:
        raise DataUnfitError(
            f"{directory / 'particles.star'} does not contain the particles that were written; export again"
        )
    return tuple(files), tuple(notes)
