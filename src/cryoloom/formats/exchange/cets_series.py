"""Tilt series, alignments and CTFs in CETS (TomoBabel's data model): one data set a series.

A region holds the series with its images, and its alignment. Image coordinates are "tilt_image_centre", x and
y in angstrom from pixel ``n // 2``; those of the specimen "tomogram_centre", x, y, z in angstrom from the
origin of the poses. A projection alignment leads from the image to the specimen: first a translation by minus
the shift, then the affine of the transposed rotation, so that a point of the image becomes the ray through
the specimen that it shows. A tilt without an alignment is excluded. The accumulated dose is that before the
tilt. Defocus is that of the origin; ``defocus_handedness`` counts as RELION's hand: -1 is our +1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, ForeignCtfView, ctf_of
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment, ForeignView
from cryoloom.formats.exchange.placement import (
    exportable,
    place_pixels,
    poses_by_section,
    require_one_magnification,
    write_notes,
)
from cryoloom.model import Pose, Tilt, TiltSeries, Tomogram

__all__ = ["read_cets_alignment", "read_cets_ctf", "write_cets_series"]

_IMAGE, _PIXELS, _TOMOGRAM = "tilt_image_centre", "tilt_image_pixels", "tomogram_centre"


def write_cets_series(
    items: Sequence[tuple[TiltSeries, Tomogram | None]], directory: Path, *, link: bool = True
) -> tuple[Path, ...]:
    """``NAME_cets.json`` of every series, beside its stack and its tomogram; each is read again.

    A series that is aligned in part is left out, which ``NOTES.txt`` says. ``link`` as in `place_pixels`.
    """
    fit, notes = exportable(items, check_exportable)
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for series, tomogram in fit:
        written += _write_series(series, tomogram, directory, link=link)
    return (*written, *write_notes(directory, notes))


def check_exportable(series: TiltSeries) -> None:
    """Refuse a series aligned in part, or with magnifications that differ."""
    _, poses = poses_by_section(series)
    require_one_magnification(series, poses or [], "CETS")


def _write_series(
    series: TiltSeries, tomogram: Tomogram | None, directory: Path, *, link: bool
) -> list[Path]:
    tilts, poses = poses_by_section(series)
    stack, name = series.unweighted_stack, series.name
    suffixes = {"images": "", "even": "_even", "odd": "_odd"}
    places = {
        role: place_pixels(
            pixels, directory / f"{name}{suffixes[role]}.mrc", stack.pixel_size_angstrom, link=link
        )
        for role, pixels in stack.present.items()
    }
    described: dict[str, Any] = {
        "id": name,
        "path": places["images"].name,
        "ctf_corrected": bool(stack.ctf_correction),
        "images": [_image(tilt, series, places["images"].name) for tilt in tilts],
    }
    described |= {f"{role}_path": path.name for role, path in places.items() if role != "images"}
    region: dict[str, Any] = {"id": name, "tilt_series": [described]}
    if poses is not None:
        used = [(t, p) for t, p in zip(tilts, poses, strict=True) if not t.is_excluded]
        aligned = [_projection(tilt, pose, series) for tilt, pose in used]
        region["alignments"] = [{"tilt_series_id": name, "projection_alignments": aligned}]
    files = list(places.values())
    if tomogram is not None:
        volume = directory / f"{name}_tomogram.mrc"
        files.append(
            place_pixels(tomogram.volume, volume, tomogram.voxel_size_angstrom, link=link, kind="volume")
        )
        n_z, n_y, n_x = tomogram.volume.shape
        size = {"width": n_x, "height": n_y, "depth": n_z}
        region["tomograms"] = [{"id": name, "path": volume.name, "tilt_series_id": name, **size}]
    path = directory / f"{name}_cets.json"
    path.write_text(json.dumps({"name": name, "regions": [region]}, indent=1), encoding="utf-8")
    _region(path)
    return [*files, path]


def _axes(names: str, unit: str, kind: str) -> list[dict[str, str]]:
    return [{"name": axis, "axis_unit": unit, "axis_type": kind} for axis in names]


def _image(tilt: Tilt, series: TiltSeries, stack_name: str) -> dict[str, Any]:
    """A tilt image: its section, angle, dose, CTF, and how its pixels become angstrom from its centre."""
    stack = series.unweighted_stack
    (n_y, n_x), pixel = stack.shape_yx, stack.pixel_size_angstrom
    made: dict[str, Any] = {
        "id": _image_id(tilt, series),
        "path": stack_name,
        "section": tilt.section,
        "nominal_tilt_angle": tilt.nominal_tilt_deg,
        "accumulated_dose": tilt.dose_start_per_angstrom2,
        "width": n_x,
        "height": n_y,
        "coordinate_systems": [
            {"name": _PIXELS, "axes": _axes("xy", "pixel", "array")},
            {"name": _IMAGE, "axes": _axes("xy", "angstrom", "space")},
        ],
        "coordinate_transformations": [
            {
                "transformation_type": "sequence",
                "name": "pixels to angstrom from the centre",
                "input": _PIXELS,
                "output": _IMAGE,
                "sequence": [
                    {"transformation_type": "translation", "translation": [-(n_x // 2), -(n_y // 2)]},
                    {"transformation_type": "scale", "scale": [pixel, pixel]},
                ],
            }
        ],
    }
    if tilt.movie is not None:
        made["movie_stack_id"] = tilt.movie.path.name
    if tilt.ctf is not None:
        made["ctf_metadata"] = {
            "defocus_u": tilt.ctf.defocus_u_angstrom,
            "defocus_v": tilt.ctf.defocus_v_angstrom,
            "defocus_angle": tilt.ctf.astigmatism_angle_deg,
            "phase_shift": tilt.ctf.phase_shift_deg,
        }
        if series.handedness.applied is not None:
            made["ctf_metadata"]["defocus_handedness"] = -round(series.handedness.applied)
    return made


def _image_id(tilt: Tilt, series: TiltSeries) -> str:
    return f"{series.name}_{tilt.acquisition_index:03d}"


def _projection(tilt: Tilt, pose: Pose, series: TiltSeries) -> dict[str, Any]:
    x, y = pose.shift_xy_angstrom
    return {
        "transformation_type": "projection_alignment",
        "id": f"{_image_id(tilt, series)}_alignment",
        "tilt_image_id": _image_id(tilt, series),
        "input": _IMAGE,
        "output": _TOMOGRAM,
        "sequence": [
            {"transformation_type": "translation", "translation": [-x, -y, 0.0]},
            {"transformation_type": "affine", "affine": pose.matrix.T.tolist()},
        ],
    }


def read_cets_alignment(path: Path) -> ForeignAlignment:
    """Poses of a data set with one tilt series. Raises DataUnfitError if it is not such a data set."""
    region, series = _region(path)
    projections = {
        str(one.get("tilt_image_id")): one
        for alignment in region.get("alignments") or []
        for one in alignment.get("projection_alignments") or []
    }
    if not projections:
        raise DataUnfitError(f"{path} holds no alignment; expected projection_alignments of its tilt images")
    views = []
    for image in series["images"]:
        projection = projections.get(str(image.get("id")))
        views.append(
            ForeignView(
                None if projection is None else _pose(projection, path),
                section=image.get("section"),
                tilt_deg=image.get("nominal_tilt_angle"),
                dose_start_per_angstrom2=image.get("accumulated_dose"),
                used=projection is not None,
            )
        )
    return ForeignAlignment(path, tuple(views), n_sections=len(views))


def _pose(projection: dict[str, Any], path: Path) -> Pose:
    """Pose of a translation and a rotation, in either order, that lead from the image to the specimen."""
    translation, rotation = np.zeros(3), np.eye(3)
    for one in projection.get("sequence") or []:
        if one.get("transformation_type") == "translation":
            vector = np.zeros(3)
            vector[: len(one["translation"])] = one["translation"]
            # A translation after the rotation is one before it, turned back.
            translation = translation + rotation.T @ vector
        elif one.get("transformation_type") == "affine":
            rotation = np.asarray(one["affine"], dtype=np.float64) @ rotation
        else:
            raise DataUnfitError(f"{path.name} has a {one.get('transformation_type')!r} in an alignment")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise DataUnfitError(
            f"{path.name} has an alignment of {projection.get('tilt_image_id')} that is not a rotation; "
            "magnified or mirrored images cannot be used"
        )
    axis, tilt, x_tilt = _angles_deg(rotation.T)
    x, y = -translation[:2]
    return Pose(axis, tilt, x_tilt, (float(x), float(y)))


def _angles_deg(matrix: NDArray[np.float64]) -> tuple[float, float, float]:
    """Axis, tilt and x-tilt of ``Rz(axis) Ry(tilt) Rx(x_tilt)``, whose third row begins with -sin(tilt)."""
    tilt = -np.arcsin(np.clip(matrix[2, 0], -1.0, 1.0))
    axis, x_tilt = np.arctan2(matrix[1, 0], matrix[0, 0]), np.arctan2(matrix[2, 1], matrix[2, 2])
    a, t, x = (float(np.rad2deg(angle)) for angle in (axis, tilt, x_tilt))
    return a, t, x


def read_cets_ctf(path: Path) -> ForeignCtf:
    """CTFs of a data set's tilt images, by section."""
    _, series = _region(path)
    views, hands = [], set()
    for image in series["images"]:
        ctf = image.get("ctf_metadata")
        if not ctf or ctf.get("defocus_u") is None:
            continue
        hands.add(ctf.get("defocus_handedness"))
        views.append(
            ForeignCtfView(
                ctf_of(
                    float(ctf["defocus_u"]), float(ctf.get("defocus_v") or ctf["defocus_u"]),
                    float(ctf.get("defocus_angle") or 0.0),
                    phase_shift_deg=float(ctf.get("phase_shift") or 0.0),
                ),
                section=image.get("section"),
            )
        )  # fmt: skip
    if not views:
        raise DataUnfitError(f"{path} holds no CTF; expected ctf_metadata of its tilt images")
    hand = hands.pop() if len(hands) == 1 else None
    return ForeignCtf(path, tuple(views), handedness=None if not hand else -int(hand), refers_to="origin")


def _region(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The region of a data set that holds a tilt series with images, and that series."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        regions = data["regions"] if isinstance(data, dict) and "regions" in data else [data]
        for region in regions:
            for series in region.get("tilt_series") or []:
                if series.get("images"):
                    return region, series
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataUnfitError(f"{path} cannot be read as a data set of CETS: {error}") from error
    raise DataUnfitError(f"{path} holds no tilt series with images; expected a data set of CETS")
