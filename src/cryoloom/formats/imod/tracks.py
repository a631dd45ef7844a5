"""IMOD's fiducial models as tracks: NAME.fid of beadtrack, or of tiltxcorr's patches, in the raw images.

A contour is a fiducial, a point's z its view. eTomo's models lie in the prealigned stack, made from the raw
one by ``NAME.prexg`` and the BinByFactor of ``prenewst.com``. With A and d of the transform, c and c' the
middles (n / 2) of raw and prealigned image and b the binning, newstack makes
``b (p - c') = A (raw - c) + d``, so ``raw - c = A^-1 (b (p - c') - d)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.foreign_alignment import scaled_pixel_size
from cryoloom.formats.imod.alignment import command_beside
from cryoloom.formats.imod.commands import read_newstack_command
from cryoloom.formats.imod.model import ImodModel, ImodObject, read_model, write_model
from cryoloom.formats.imod.transforms import half_pixel_xy, read_angles, read_xf

__all__ = [
    "ForeignTracks",
    "fiducial_digests",
    "find_fiducial_model",
    "read_fiducial_model",
    "write_fiducial_model",
]


@dataclass(frozen=True, slots=True)
class ForeignTracks:
    """Positions of fiducials, flat: ``track``, ``view`` ``(n,)`` from 0; xy ``(n, 2)`` in angstrom.

    Positions are counted from the middle of the raw image as ours are. A view is a section of the raw stack.
    """

    source: Path
    track: NDArray[np.int64]
    view: NDArray[np.int64]
    position_xy_angstrom: NDArray[np.float64]
    nominal_tilt_deg: NDArray[np.float64]
    """(n_views,), before anything was refined."""

    @property
    def n_tracks(self) -> int:
        """Number of fiducials."""
        return int(self.track.max()) + 1 if len(self.track) else 0


def find_fiducial_model(folder: Path, name: str) -> Path:
    """NAME.fid, there or in a folder there; raises DataUnfitError unless there is exactly one."""
    found = sorted(
        {path for path in (folder / f"{name}.fid", *folder.glob(f"*/{name}.fid")) if path.is_file()}
    )
    if len(found) != 1:
        raise DataUnfitError(
            f"{folder} holds {len(found)} fiducial models of this series; expected one {name}.fid there or "
            "in a folder there",
            series=name,
        )
    return found[0]


def fiducial_digests(folder: Path, name: str) -> dict[str, str]:
    """Digests of all that `read_fiducial_model` would read for a series."""
    path, suffixes = find_fiducial_model(folder, name), (".rawtlt", ".tlt", ".prexg")
    command = command_beside(path, "prenewst")
    beside = [path.with_suffix(suffix) for suffix in suffixes]
    return file_digests([path, *beside, *([] if command is None else [command])])


def read_fiducial_model(
    path: Path, shape_yx: tuple[int, int], pixel_size_angstrom: float, *, prealigned: bool = True
) -> ForeignTracks:
    """Tracks for a series whose images have this shape and pixel size.

    prealigned : the model was made on the prealigned stack; else on the raw one.
    """
    model = read_model(path)
    angles = _nominal_angles(path)
    n_views = len(angles)
    contours = [contour for one in model.objects for contour in one.contours if len(contour)]
    if not contours:
        raise DataUnfitError(f"{path} holds no point; track fiducials first")
    track = np.repeat(np.arange(len(contours)), [len(contour) for contour in contours])
    points = np.concatenate(contours)
    view = np.rint(points[:, 2]).astype(np.int64)
    if view.min() < 0 or view.max() >= n_views:
        raise DataUnfitError(
            f"{path.name} has points in sections {view.min()} to {view.max()}, but {n_views} angles lie "
            "beside it; give the model and the angles of one stack"
        )
    if len(np.unique(track * n_views + view)) < len(view):
        pairs, counts = np.unique(np.column_stack([track, view]), axis=0, return_counts=True)
        (contour, section) = pairs[counts > 1][0] + 1
        raise DataUnfitError(
            f"{path.name} has two points of contour {contour} in section {section} (from 1); expected one: "
            "delete the wrong one in 3dmod"
        )
    seen_px: NDArray[np.float64] = points[:, :2] - _middle(model)
    binning = 1
    command = command_beside(path, "prenewst")
    if prealigned:
        transforms = _prealignment(path, n_views)
        binning = 1 if command is None else read_newstack_command(command).binning
        matrix, displacement = transforms[view, :, :2], transforms[view, :, 2]
        moved = (binning * seen_px - displacement)[..., None]
        seen_px = np.linalg.solve(matrix, moved)[..., 0].astype(np.float64)
    model_yx = (model.shape_zyx[1] * binning, model.shape_zyx[2] * binning)
    pixel_size = scaled_pixel_size(
        path, _rounded_to(model_yx, shape_yx, binning), shape_yx, pixel_size_angstrom
    )
    if prealigned and command is None and pixel_size != pixel_size_angstrom:
        raise DataUnfitError(
            f"{path.name} was made on images of {model.shape_zyx[2]} x {model.shape_zyx[1]} pixels, the "
            f"series has {shape_yx[1]} x {shape_yx[0]}, and no prenewst.com gives their binning: put it "
            "beside the model"
        )
    raw_yx = shape_yx if pixel_size == pixel_size_angstrom else model_yx
    return ForeignTracks(
        path, track.astype(np.int64), view, (seen_px - half_pixel_xy(raw_yx)) * pixel_size, angles
    )


def write_fiducial_model(
    path: Path, tracks: ForeignTracks, shape_yx: tuple[int, int], pixel_size_angstrom: float
) -> None:
    """Write tracks as a model on the raw stack, and its angles (.rawtlt) beside it."""
    shifted = tracks.position_xy_angstrom / pixel_size_angstrom + half_pixel_xy(shape_yx)
    points = np.column_stack([shifted + np.array(shape_yx[::-1]) / 2, tracks.view])
    contours = tuple(points[tracks.track == number] for number in range(tracks.n_tracks))
    shape = (len(tracks.nominal_tilt_deg), *shape_yx)
    write_model(path, ImodModel(shape, (ImodObject("fiducials", contours),), pixel_size_angstrom))


def _nominal_angles(path: Path) -> NDArray[np.float64]:
    for suffix in (".rawtlt", ".tlt"):
        if path.with_suffix(suffix).is_file():
            return read_angles(path.with_suffix(suffix))
    raise DataUnfitError(f"no tilt angles lie beside {path}; expected {path.stem}.rawtlt or {path.stem}.tlt")


def _prealignment(path: Path, n_views: int) -> NDArray[np.float64]:
    """Transforms of the prealigned stack."""
    prexg = path.with_suffix(".prexg")
    if not prexg.is_file():
        raise DataUnfitError(
            f"no {prexg.name} lies beside {path}: expected the transforms of the prealigned stack it was "
            "made on; give prealigned=false if it was made on the raw stack"
        )
    transforms = read_xf(prexg)
    if len(transforms) != n_views:
        raise DataUnfitError(
            f"{prexg.name} has {len(transforms)} transforms and {n_views} angles lie beside it; give files "
            "of one run"
        )
    return transforms


def _middle(model: ImodModel) -> NDArray[np.float64]:
    return np.array(model.shape_zyx[:0:-1]) / 2


def _rounded_to(model_yx: tuple[int, int], shape_yx: tuple[int, int], binning: int) -> tuple[int, int]:
    """The shape of the model, or ours where binning alone, which drops what is over, makes the difference."""
    near = all(abs(its - ours) < binning for its, ours in zip(model_yx, shape_yx, strict=True))
    return shape_yx if near else model_yx
