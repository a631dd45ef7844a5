"""Particles and averages beside the tilt series of a RELION 5 project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.placement import place_pixels
from cryoloom.formats.relion.particles import RelionOptics, read_relion_particles, write_relion_particles
from cryoloom.model import Average, ParticleRows, Particles

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
) -> tuple[Path, ...]:
    """``particles.star``, ``optimisation_set.star`` and ``averages/`` beside what `write_relion5` wrote.

    series_names : those the project has; particles of others are left out. The particles are read again: a
    count or a position that differs raises DataUnfitError.
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
        for role in ("map", "half1", "half2", "mask"):
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
    files += write_relion_particles(directory, rows, optics, tomograms_star=table, averages=entries)
    found = read_relion_particles(directory / "particles.star")
    if found.n != rows.n or np.abs(found.positions_xyz_angstrom - rows.positions_xyz_angstrom).max() > 1e-3:
        raise DataUnfitError(
            f"{directory / 'particles.star'} does not hold the particles written; export again"
        )
    return tuple(files)
