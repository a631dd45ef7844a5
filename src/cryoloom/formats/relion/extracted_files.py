"""RELION's files of extracted particles: one stack or volume for each, and the columns that name them.

A stack contains the tilts in which the particle is visible, in the order of the series' table;
``rlnTomoVisibleFrames`` marks them. A volume is stored with its weights, half of a Fourier transform (x from
0, frequency 0 at index 0): the squared CTFs in the lower half, the number of samples in the upper half.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcSink
from cryoloom.formats.relion.particles import RelionImages
from cryoloom.formats.relion.star_tables import Row, write_blocks
from cryoloom.model import ExtractedImages, ParticleRows, Particles, TiltSeries
from cryoloom.model.pixels import Pixels

__all__ = ["write_extracted", "write_trajectories"]

Array = NDArray[np.float64]

_FOLDER = "Subtomograms"


def write_extracted(
    directory: Path, rows: ParticleRows, particles: Sequence[Particles]
) -> tuple[RelionImages, ParticleRows, list[Path]]:
    """Write every particle's stack or volume; gives the columns, and the rows that have one.

    Raises DataUnfitError if sets were extracted with different sizes: RELION has one size for each.
    """
    extracted = {one.series: one for item in particles for one in item.images}
    series = {one.name: one for item in particles for one in item.series}
    shared = {
        (one.crop_px, round(one.pixel_size_angstrom, 5), one.is_volume, one.ctf_multiplied)
        for one in extracted.values()
    }
    if len(shared) > 1:
        raise DataUnfitError(
            f"the particles were extracted in different ways (size, pixel, volume, CTF): {sorted(shared)}; "
            "extract all with the same parameters"
        )
    parts: list[ParticleRows] = []
    files: list[Path] = []
    columns: dict[str, list[object]] = {}
    cut, frames = [np.zeros((0, 3))], [np.zeros((0, 3, 3))]
    for name, one in extracted.items():
        known = one.particles.read()
        place = {int(number): i for i, number in enumerate(known["particle"])}
        mine = [i for i in np.flatnonzero(rows.tomogram == name) if int(rows.particle[i]) in place]
        own = rows.take(np.array(mine, dtype=np.int64))
        at = np.array([place[int(number)] for number in own.particle], dtype=np.int64)
        parts.append(own)
        cut.append(np.stack([known[f"{axis}_angstrom"] for axis in "xyz"], axis=-1)[at])
        frames.append(
            np.stack([known[f"f{i}{j}"] for i in range(3) for j in range(3)], -1).reshape(-1, 3, 3)[at]
        )
        made = (
            _volumes(directory, one, at, own) if one.is_volume else _stacks(directory, one, series[name], own)
        )
        for column, values in made[0].items():
            columns.setdefault(column, []).extend(values)
        files += made[1]
    example = next(iter(extracted.values()))
    optics: Row = {
        "rlnCtfDataAreCtfPremultiplied": int(example.ctf_multiplied),
        "rlnImageDimensionality": 3 if example.is_volume else 2,
        "rlnTomoSubtomogramBinning": example.binning,
        "rlnImagePixelSize": example.pixel_size_angstrom,
        "rlnImageSize": example.crop_px,
    }
    images = RelionImages(
        columns, optics, np.concatenate(cut), np.concatenate(frames), are_stacks=not example.is_volume
    )
    return images, ParticleRows.joined(parts), files


def write_trajectories(path: Path, rows: ParticleRows, series: Sequence[TiltSeries]) -> Path | None:
    """``motion.star``: displacement of each particle in each tilt; None if there is no displacement.

    RELION's tilt tables cannot store a local alignment, but its trajectories can: a displacement d of the
    image equals a displacement ``P^T d`` of the particle, which P projects to d. Tilts are in the order of
    their table.
    """
    by_name = {one.name: one for one in series}
    warped = {
        name
        for name, one in by_name.items()
        if any(tilt.pose is not None and tilt.pose.warp is not None for tilt in one.included)
    }
    if not warped & set(rows.tomogram.tolist()):
        return None
    moved: dict[int, Array] = {}
    for name in np.unique(rows.tomogram):
        mine = np.flatnonzero(rows.tomogram == name)
        shifts = _displacements(by_name[str(name)], rows.positions_xyz_angstrom[mine])
        moved |= {int(i): shifts[k] for k, i in enumerate(mine)}
    blocks: dict[str, Sequence[Row] | Row] = {"general": {"rlnParticleNumber": rows.n}}
    for i in range(rows.n):
        blocks[f"{rows.tomogram[i]}/{rows.particle[i]}"] = [
            {f"rlnOrigin{axis}Angst": float(value) for axis, value in zip("XYZ", shift, strict=True)}
            for shift in moved[i]
        ]
    return write_blocks(path, blocks)


def _displacements(series: TiltSeries, positions: Array) -> Array:
    """Displacement in the specimen ``(n, tilt, 3)`` that projects to that of the image."""
    shifts = np.zeros((len(positions), len(series.included), 3))
    for t, tilt in enumerate(series.included):
        if tilt.pose is None or tilt.pose.warp is None:
            continue
        rows = tilt.pose.matrix[:2]
        seen = positions @ rows.T * tilt.pose.magnification + np.array(tilt.pose.shift_xy_angstrom)
        shifts[:, t] = tilt.pose.warp.displacement(seen) @ rows
    return shifts


def _stacks(
    directory: Path, one: ExtractedImages, series: TiltSeries, own: ParticleRows
) -> tuple[dict[str, list[object]], list[Path]]:
    sections = one.sections.read()
    order = {tilt.acquisition_index: i for i, tilt in enumerate(series.included)}
    first: dict[int, int] = {}
    shown: dict[int, list[int]] = {}
    for i, (number, tilt) in enumerate(
        zip(sections["particle"].tolist(), sections["acquisition_index"].tolist(), strict=True)
    ):
        first.setdefault(number, i)
        shown.setdefault(number, []).append(order[tilt])
    names: list[object] = []
    visible: list[object] = []
    files = []
    for number in own.particle.tolist():
        tilts = shown[number]
        path = directory / _FOLDER / one.series / f"{number}_stack2d.mrcs"
        _copy(one.pixels, first[number], len(tilts), path, one.pixel_size_angstrom)
        files.append(path)
        names.append(path.relative_to(directory).as_posix())
        flags = np.zeros(len(order), dtype=int)
        flags[tilts] = 1
        visible.append(f"[{','.join(map(str, flags))}]")
    return {"rlnTomoVisibleFrames": visible, "rlnImageName": names}, files


def _volumes(
    directory: Path, one: ExtractedImages, at: NDArray[np.int64], own: ParticleRows
) -> tuple[dict[str, list[object]], list[Path]]:
    if one.weights is None:
        raise ValueError("volumes have weights")
    crop = one.crop_px
    images: list[object] = []
    ctfs: list[object] = []
    files = []
    for i, number in zip(at.tolist(), own.particle.tolist(), strict=True):
        stem = directory / _FOLDER / one.series / str(number)
        data, weights = stem.with_name(f"{number}_data.mrc"), stem.with_name(f"{number}_weights.mrc")
        _copy(one.pixels, i * crop, crop, data, one.pixel_size_angstrom, kind="volume")
        _copy(one.weights, 2 * i * crop, 2 * crop, weights, 1.0 / one.pixel_size_angstrom, kind="volume")
        files += [data, weights]
        images.append(data.relative_to(directory).as_posix())
        ctfs.append(weights.relative_to(directory).as_posix())
    return {"rlnImageName": images, "rlnCtfImage": ctfs}, files


def _copy(
    pixels: Pixels,
    first: int,
    n: int,
    path: Path,
    pixel_size_angstrom: float,
    kind: Literal["stack", "volume"] = "stack",
) -> None:
    """Sections of a stack as a file of their own, in the same type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype: Any = "float16" if pixels.dtype == np.float16 else "float32"
    sink = MrcSink(path, (n, *pixels.shape[1:]), pixel_size_angstrom, dtype, kind=kind)
    try:
        sink[...] = pixels[first : first + n]
        sink.commit()
    except BaseException:
        sink.discard()
        raise
