"""CTF files of other programs found by a series' name, and read by the program they are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.ctf_programs.ctffind import read_aretomo_ctf, read_ctffind, read_ctffind_folder
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf
from cryoloom.formats.ctf_programs.gctf import read_star_ctf
from cryoloom.formats.exchange.cets_series import read_cets_ctf
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.imod.defocus import read_imod_defocus
from cryoloom.formats.warp.tilt_series import read_warp_ctf
from cryoloom.model import TiltSeries

__all__ = ["ctf_digests", "find_ctf", "read_ctf"]

# File names of the programs for a series NAME; RELION's and Gctf's tables have the same format.
_NAMES = {
    "imod": ("{series}.defocus",),
    "aretomo": ("{series}_CTF.txt",),
    "warp": ("{series}.xml",),
    "cets": ("{series}_cets.json",),
    "star": ("{series}.star", "{series}_gctf.star", "{series}/micrographs_all_gctf.star"),
    "ctffind": ("{series}.txt", "{series}_ctf.txt", "{series}_ctffind.txt", "{series}_ctffind4.txt"),
}


def find_ctf(folder: Path, series_name: str, program: str, file_name: str = "") -> tuple[str, Path]:
    """Program and file of a series, in a folder or one below it.

    ``program`` "auto" takes the only one there is; ``file_name`` may hold ``{series}`` and overrules the
    programs' own names.
    """
    wanted = [program] if program != "auto" else list(_NAMES)
    names = {key: (file_name,) if file_name else _NAMES[key] for key in wanted}
    found = {}
    for key, patterns in names.items():
        for pattern in patterns:
            name = pattern.format(series=series_name)
            places = [p for p in (folder / name, *sorted(folder.glob(f"*/{name}"))) if p.exists()]
            if places:
                found[key] = places[0]
                break
    if file_name and found:
        key = wanted[0] if len(wanted) == 1 else _program_of(next(iter(found.values())))
        return key, next(iter(found.values()))
    if len(found) == 1:
        return next(iter(found.items()))
    looked_for = ", ".join(sorted({p.format(series=series_name) for ps in names.values() for p in ps}))
    if not found:
        raise DataUnfitError(
            f"{folder} holds no CTFs of {series_name}; expected one of {looked_for}; or give file",
            series=series_name,
        )
    raise UserInputError(
        f"{folder} holds CTFs of {series_name} by {', '.join(sorted(found))}; choose one with program"
    )


def ctf_digests(folder: Path, series_name: str, program: str, file_name: str = "") -> dict[str, str]:
    """Digests of all that `read_ctf` would read for a series."""
    return file_digests([find_ctf(folder, series_name, program, file_name)[1]])


def _program_of(path: Path) -> str:
    if path.suffix in (".defocus", ".json"):
        return "imod" if path.suffix == ".defocus" else "cets"
    if path.suffix in (".star", ".xml"):
        return "star" if path.suffix == ".star" else "warp"
    if path.is_file() and path.stem.endswith("_CTF"):
        return "aretomo"
    return "ctffind"


def read_ctf(program: str, path: Path, series: TiltSeries) -> ForeignCtf:
    """CTFs of a file for a series; raises DataUnfitError that names the file where a value is impossible."""
    try:
        return _read(program, path, series)
    except DataUnfitError as error:
        if path.name in error.message:
            raise
        raise DataUnfitError(
            f"{path.name}: {error.message}. The file is damaged, or was written with other units",
            **error.facts,
        ) from error


def _read(program: str, path: Path, series: TiltSeries) -> ForeignCtf:
    if path.is_dir():
        return read_ctffind_folder(path)
    readers: dict[str, Callable[[Path], ForeignCtf]] = {
        "aretomo": read_aretomo_ctf,
        "star": read_star_ctf,
        "warp": read_warp_ctf,
        "cets": read_cets_ctf,
        "ctffind": read_ctffind,
    }
    return read_imod_defocus(path, series) if program == "imod" else readers[program](path)
