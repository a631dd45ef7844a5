"""Find another program's alignment of a series in a folder, read it, and detect changes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.aretomo.aln import read_aretomo
from cryoloom.formats.exchange.cets_series import read_cets_alignment
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment, ForeignView
from cryoloom.formats.imod.alignment import imod_files, read_imod
from cryoloom.formats.relion.relion5 import lists_series, read_relion5_tilt_series
from cryoloom.formats.warp.tilt_series import read_warp

__all__ = ["AlignmentProgram", "alignment_digests", "find_alignment", "read_alignment"]

AlignmentProgram = Literal["imod", "aretomo", "warp", "relion5", "cets"]

_SUFFIXES: dict[AlignmentProgram, str] = {
    "aretomo": ".aln",
    "imod": ".xf",
    "warp": ".xml",
    "cets": "_cets.json",
}


def find_alignment(
    folder: Path, name: str, program: AlignmentProgram | Literal["auto"] = "auto"
) -> tuple[AlignmentProgram, Path]:
    """The program and the file of a series' alignment, in a folder or one below it.

    Files are called NAME or NAME_st with the program's suffix; RELION's table lists the series by name.
    Raises DataUnfitError if there is none, UserInputError where there are several to choose from.
    """
    found: list[tuple[AlignmentProgram, Path]] = []
    for kind, suffix in _SUFFIXES.items():
        if program in ("auto", kind):
            found += [(kind, path) for path in _named(folder, (name, f"{name}_st"), suffix)]
    if program in ("auto", "relion5"):
        tables = sorted(path for path in folder.glob("*.star") if lists_series(path, name))
        # tomograms.star and tilt_series.star of one project lead to the same poses.
        found += [("relion5", path) for path in tables[:1]]
    if not found:
        raise DataUnfitError(
            f"{folder} holds no alignment of this series; expected {name}.xf, {name}.aln, {name}.xml, "
            f"{name}_cets.json or a RELION table that lists it, there or in a folder there",
            series=name,
        )
    if len(found) > 1:
        raise UserInputError(
            f"{folder} holds several alignments of {name}: {', '.join(str(path) for _, path in found)}; give "
            "program, or a folder with one of them"
        )
    return found[0]


def alignment_digests(
    folder: Path, name: str, program: AlignmentProgram | Literal["auto"] = "auto"
) -> dict[str, str]:
    """Digests of all that `read_alignment` would read for a series.

    RELION's tables list many series: only what they say of this one counts, so that others may be added.
    """
    kind, path = find_alignment(folder, name, program)
    if kind == "relion5":
        tilts = read_relion5_tilt_series(path, name).tilts
        return {str(path): hashlib.sha256(repr(tilts).encode()).hexdigest()}
    return file_digests(imod_files(path) if kind == "imod" else (path,))


def _named(folder: Path, stems: tuple[str, ...], suffix: str) -> list[Path]:
    paths = [
        path for stem in stems for path in (folder / f"{stem}{suffix}", *folder.glob(f"*/{stem}{suffix}"))
    ]
    return sorted(path for path in set(paths) if path.is_file())


def read_alignment(
    program: AlignmentProgram,
    path: Path,
    name: str,
    shape_yx: tuple[int, int],
    pixel_size_angstrom: float,
    *,
    keep_shift: bool = False,
) -> ForeignAlignment:
    """Read an alignment for a series whose images have this shape and pixel size.

    keep_shift : of IMOD's tomogram, as in `read_imod`.
    """
    try:
        return _read(program, path, name, shape_yx, pixel_size_angstrom, keep_shift=keep_shift)
    except DataUnfitError as error:
        if path.name in error.message:
            raise
        # A value that no pose can have (`model.limits`) says only what it is.
        raise DataUnfitError(
            f"{path.name}: {error.message}. The file is damaged, or was written with decimal commas or other "
            "units",
            **error.facts,
        ) from error


def _read(
    program: AlignmentProgram,
    path: Path,
    name: str,
    shape_yx: tuple[int, int],
    pixel_size_angstrom: float,
    *,
    keep_shift: bool,
) -> ForeignAlignment:
    if program == "aretomo":
        return read_aretomo(path, shape_yx, pixel_size_angstrom)
    if program == "imod":
        return read_imod(path, shape_yx, pixel_size_angstrom, keep_shift=keep_shift)
    if program == "cets":
        return read_cets_alignment(path)
    if program == "warp":
        n_y, n_x = shape_yx
        return read_warp(path, (n_x * pixel_size_angstrom, n_y * pixel_size_angstrom))
    series = read_relion5_tilt_series(path, name)
    views = tuple(
        ForeignView(
            tilt.pose,
            tilt_deg=tilt.nominal_tilt_deg,
            dose_start_per_angstrom2=tilt.dose_start_per_angstrom2,
        )
        for tilt in series.tilts
    )
    return ForeignAlignment(path, views)
