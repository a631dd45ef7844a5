"""Warp's tilt series: XML files read as poses; and written, with averages and .tomostar, to go on in Warp.

Warp (``TiltSeries.GetPositionInAllTilts``) projects ``image = offset + Rz(AxisAngle) Ry(-Angle - LevelAngleY)
Rx(LevelAngleX) r`` in angstrom about the middle, pixel ``n / 2``, as its Euler angles turn the other way; in
our volume, mirrored in z against its (conventions.md), that is ``Rz(AxisAngle) Ry(Angle + LevelAngleY)
Rx(-LevelAngleX)``: axis, tilt and x-tilt of a pose, and the offset its shift, nothing to convert. Depth
counts the other way too, so that ``AreAnglesInverted`` is False for our handedness +1.

Movement grids are the local displacement of a pose (`cryoloom.formats.warp.grids`). Warping grids, which say
where parts of the volume went, and angles that change over it are kept in no pose.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import starfile

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, ForeignCtfView, ctf_of
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment, ForeignView
from cryoloom.formats.exchange.placement import (
    exportable,
    place_pixels,
    poses_by_section,
    require_one_magnification,
    require_one_x_tilt,
    write_notes,
)
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.warp.grids import WarpGrid, add_grid, add_movements, movements
from cryoloom.model import Pixels, Pose, Stack, Tilt, TiltSeries, Tomogram

__all__ = ["read_warp", "read_warp_ctf", "write_warp"]

_SERIES_FOLDER, _FRAMES_FOLDER, _STAR_FOLDER = "warp_tiltseries", "warp_frameseries", "tomostar"
_DEFAULT_THICKNESS_ANGSTROM = 3000.0
"""Chosen: extent along z where there is no tomogram; Warp only scales its grids by it."""
_LEAST_MISFIT_ANGSTROM = 0.5
"""Chosen: a smaller misfit is not mentioned."""
_LOST_GRIDS = (
    "GridVolumeWarpX",
    "GridVolumeWarpY",
    "GridVolumeWarpZ",
    "GridAngleX",
    "GridAngleY",
    "GridAngleZ",
)


def read_warp(path: Path, extent_xy_angstrom: tuple[float, float] | None = None) -> ForeignAlignment:
    """Poses of a tilt series' XML file.

    extent_xy_angstrom : of the images, for movement grids in a file that has lost their size (Warp writes
    "0, 0" where it saves a series again without its images).
    """
    try:
        root = ElementTree.parse(path).getroot()
        if root.tag != "TiltSeries":
            raise ValueError(f"its root is {root.tag}")
        tilt = _numbers(root, "Angles")
        axis, x, y = (_numbers(root, name) for name in ("AxisAngle", "AxisOffsetX", "AxisOffsetY"))
        dose = _numbers(root, "Dose") if root.find("Dose") is not None else None
        used = _words(root, "UseTilt") or ["True"] * len(tilt)
        level_x, level_y = (float(root.get(name, "0")) for name in ("LevelAngleX", "LevelAngleY"))
        shifts, warps, misfit = movements(root, len(tilt), extent_xy_angstrom)
        lost = [name for name in _LOST_GRIDS if (grid := WarpGrid.read(root, name)) and grid.varies]
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise DataUnfitError(
            f"{path} is not a tilt series of Warp: expected TiltSeries with Angles, AxisAngle, "
            "AxisOffsetX and "
            f"AxisOffsetY ({error})"
        ) from error
    counts = {len(tilt), len(axis), len(x), len(y), len(used), len(tilt) if dose is None else len(dose)}
    if len(counts) != 1:
        raise DataUnfitError(
            f"{path} gives {sorted(counts)} values for its tilts; expected one of each a tilt"
        )
    views = tuple(
        ForeignView(
            Pose(
                float(axis[i]),
                float(tilt[i]) + level_y,
                x_tilt_deg=-level_x + 0.0,
                shift_xy_angstrom=(float(x[i] + shifts[i, 0]), float(y[i] + shifts[i, 1])),
                warp=warps[i],
            ),
            tilt_deg=float(tilt[i]),
            dose_start_per_angstrom2=None if dose is None else float(dose[i]),
            used=used[i] == "True",
        )
        for i in range(len(tilt))
    )
    notes = []
    correction = _magnification_note(root, extent_xy_angstrom)
    if correction:
        notes.append(correction)
    if lost:
        notes.append(f"{', '.join(lost)} are not used: poses know nothing that changes within the volume")
    if misfit > _LEAST_MISFIT_ANGSTROM:
        notes.append(
            f"the movement grids are taken as smooth displacements, up to {misfit:.1f} A rms from them in an "
            "image"
        )
    return ForeignAlignment(path, views, notes=tuple(notes))


def _magnification_note(
    root: ElementTree.Element, extent_xy_angstrom: tuple[float, float] | None
) -> str | None:
    """That a magnification that differs by direction is not used, and by how much positions are off."""
    words = root.get("MagnificationCorrection", "").replace(",", " ").split()
    try:
        matrix = np.array([float(word) for word in words])
    except ValueError:
        return f"MagnificationCorrection is {' '.join(words)!r}, which cannot be read; it is not used"
    if len(matrix) != 4 or np.abs(matrix - [1, 0, 0, 1]).max() < 1e-6:
        return None
    note = f"MagnificationCorrection ({', '.join(f'{value:g}' for value in matrix)}) is not used"
    if extent_xy_angstrom is not None:
        moved = np.abs(matrix.reshape(2, 2) - np.eye(2)) @ np.array(extent_xy_angstrom) / 2
        note += f": positions at the edge of an image are off by up to {float(np.linalg.norm(moved)):.1f} A"
    return note


def read_warp_ctf(path: Path) -> ForeignCtf:
    """CTFs of a tilt series' XML file, by tilt and dose.

    Its grids have one value for all tilts or one for each; those over the plane of an image are averaged.
    """
    try:
        root = ElementTree.parse(path).getroot()
        tilt = _numbers(root, "Angles")
        dose = _numbers(root, "Dose") if root.find("Dose") is not None else [0.0] * len(tilt)
        parameters = {p.get("Name"): p.get("Value", "") for p in root.findall("CTF/Param")}
        defocus = _per_tilt(root, "GridCTF", len(tilt), float(parameters["Defocus"]))
        delta = _per_tilt(root, "GridCTFDefocusDelta", len(tilt), float(parameters.get("DefocusDelta", "0")))
        angle = _per_tilt(root, "GridCTFDefocusAngle", len(tilt), float(parameters.get("DefocusAngle", "0")))
        phase = _per_tilt(root, "GridCTFPhase", len(tilt), float(parameters.get("PhaseShift", "0")))
    except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
        raise DataUnfitError(
            f"{path} has no CTF of a Warp tilt series: expected Angles, CTF and grids of one value or one a "
            f"tilt ({error}); run WarpTools ts_ctf"
        ) from error
    resolution = float(root.get("CTFResolutionEstimate", "0"))
    views = tuple(
        ForeignCtfView(
            ctf_of(
                1e4 * (defocus[i] + delta[i] / 2),
                1e4 * (defocus[i] - delta[i] / 2),
                angle[i],
                phase_shift_deg=180.0 * phase[i],
                fit_resolution_angstrom=resolution,
                where=f"tilt {i + 1} of {path.name}",
            ),
            tilt_deg=tilt[i],
            dose_start_per_angstrom2=dose[i],
        )
        for i in range(len(tilt))
    )
    # Warp places every tile by the tilt's pose, on the plane of the volume's centre.
    return ForeignCtf(path, views, refers_to="origin")


def _per_tilt(root: ElementTree.Element, name: str, n_tilts: int, otherwise: float) -> list[float]:
    """Mean over the plane of a grid for each tilt; a grid that is not there has one value everywhere."""
    grid = WarpGrid.read(root, name)
    if grid is None:
        return [otherwise] * n_tilts
    depth = len(grid.values)
    if depth not in (1, n_tilts):
        raise ValueError(f"{name} has {depth} values for {n_tilts} tilts")
    means = [float(mean) for mean in grid.values.mean(axis=(1, 2))]
    return means * n_tilts if depth == 1 else means


def _words(root: ElementTree.Element, name: str) -> list[str]:
    element = root.find(name)
    return [] if element is None or not element.text else element.text.split()


def _numbers(root: ElementTree.Element, name: str) -> list[float]:
    words = _words(root, name)
    if not words:
        raise ValueError(f"no {name}")
    return [float(word) for word in words]


def write_warp(
    items: Sequence[tuple[TiltSeries, Tomogram | None]], directory: Path, *, link: bool = True
) -> tuple[Path, ...]:
    """Folders as WarpTools makes them, from which its tilt-series commands go on.

    ``warp_tiltseries/NAME.xml`` with poses, local displacements, doses, exclusions and CTFs;
    ``tomostar/NAME.tomostar``; and the images one by one in ``warp_frameseries/average`` (halves in
    ``average/even`` and ``odd``). Every file is read again. A series that is not aligned, or that Warp's
    files cannot describe, is left out, and ``NOTES.txt`` says so. Images are copied: Warp reads each from its
    own file.
    """
    fit, notes = exportable(items, check_exportable, keeps_displacements=True)
    for name in (_SERIES_FOLDER, _STAR_FOLDER):
        (directory / name).mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for series, tomogram in fit:
        tilts, poses = poses_by_section(series)
        known = poses or []
        written += _write_averages(series, tilts, directory)
        names = [f"../{_FRAMES_FOLDER}/{_image_name(series, tilt)}" for tilt in tilts]
        xml = directory / _SERIES_FOLDER / f"{series.name}.xml"
        _write_xml(xml, series, tomogram, tilts, known, names)
        star = directory / _STAR_FOLDER / f"{series.name}.tomostar"
        _write_tomostar(star, tilts, known, names)
        read_warp(xml)
        written += [xml, star]
        if series.handedness.applied is None:
            notes.append(
                f"{series.name}: defocus handedness was not determined; AreAnglesInverted is False. Check "
                "it with "
                "WarpTools ts_defocus_hand."
            )
        if any(tilt.ctf is None for tilt in series.included):
            notes.append(f"{series.name}: not every tilt has a CTF; run WarpTools ts_ctf.")
    return (*written, *write_notes(directory, notes))


def check_exportable(series: TiltSeries) -> None:
    tilts, poses = poses_by_section(series)
    if poses is None:
        raise DataUnfitError("it is not aligned; run align_series first", series=series.name)
    used = [pose for tilt, pose in zip(tilts, poses, strict=True) if not tilt.is_excluded]
    require_one_magnification(series, used, "Warp")
    require_one_x_tilt(series, used, "Warp")


def _image_name(series: TiltSeries, tilt: Tilt) -> str:
    return f"{series.name}_{tilt.acquisition_index:03d}.mrc"


def _write_averages(series: TiltSeries, tilts: Sequence[Tilt], directory: Path) -> list[Path]:
    stack = series.unweighted_stack
    folders = {"images": "average", "even": "average/even", "odd": "average/odd"}
    written = []
    for role, pixels in stack.present.items():
        for tilt in tilts:
            path = directory / _FRAMES_FOLDER / folders[role] / _image_name(series, tilt)
            written.append(_write_image(pixels, tilt.section or 0, path, stack))
    return written


def _write_image(pixels: Pixels, section: int, path: Path, stack: Stack) -> Path:
    place_pixels(pixels[section][None], path, stack.pixel_size_angstrom, link=False)
    shape = MrcPixels(path).shape
    if shape[-2:] != stack.shape_yx:
        raise DataUnfitError(f"{path} has shape {shape}, expected {stack.shape_yx}; export again")
    return path


def _write_tomostar(path: Path, tilts: Sequence[Tilt], poses: Sequence[Pose], names: Sequence[str]) -> None:
    table = pd.DataFrame(
        {
            "wrpMovieName": names,
            "wrpAngleTilt": [tilt.nominal_tilt_deg for tilt in tilts],
            "wrpAxisAngle": [pose.axis_deg for pose in poses],
            "wrpDose": [tilt.dose_start_per_angstrom2 for tilt in tilts],
            "wrpAverageIntensity": [1.0] * len(tilts),
            "wrpMaskedFraction": [0.0] * len(tilts),
        }
    )
    starfile.write({"": table}, path, float_format="%.6f")


def _write_xml(
    path: Path,
    series: TiltSeries,
    tomogram: Tomogram | None,
    tilts: Sequence[Tilt],
    poses: Sequence[Pose],
    names: Sequence[str],
) -> None:
    """The series as Warp saves it; an excluded tilt has UseTilt False."""
    stack = series.unweighted_stack
    n_y, n_x = stack.shape_yx
    image_xy = [n_x * stack.pixel_size_angstrom, n_y * stack.pixel_size_angstrom]
    volume_xyz = [*image_xy, _DEFAULT_THICKNESS_ANGSTROM]
    if tomogram is not None:
        volume_xyz = [n * tomogram.voxel_size_angstrom for n in tomogram.volume.shape[::-1]]
    used = [pose for tilt, pose in zip(tilts, poses, strict=True) if not tilt.is_excluded]
    # Warp keeps the stage's angles, and the specimen's tilt on it apart.
    offsets = [pose.tilt_deg - tilt.nominal_tilt_deg for tilt, pose in zip(tilts, poses, strict=True)]
    level = round(float(np.median(offsets)), 6)
    attributes = {
        "DataDirectory": "",
        "AreAnglesInverted": str(series.handedness.applied == -1),
        "PlaneNormal": "0, 0, 0",
        "LevelAngleX": _text(-float(np.median([pose.x_tilt_deg for pose in used]))),
        "LevelAngleY": _text(level),
        "Bfactor": "0",
        "Weight": "1",
        "MagnificationCorrection": "1, 0, 0, 1",
        "ImageDimensionsAngstrom": ", ".join(_text(value) for value in image_xy),
        "VolumeDimensionsAngstrom": ", ".join(_text(value) for value in volume_xyz),
        "UnselectFilter": "False",
        "UnselectManual": "",
        "CTFResolutionEstimate": "0",
    }
    root = ElementTree.Element("TiltSeries", attributes)
    columns = {
        "Angles": [_text(pose.tilt_deg - level) for pose in poses],
        "Dose": [_text(tilt.dose_start_per_angstrom2) for tilt in tilts],
        "UseTilt": [str(not tilt.is_excluded) for tilt in tilts],
        "AxisAngle": [_text(pose.axis_deg) for pose in poses],
        "AxisOffsetX": [_text(pose.shift_xy_angstrom[0]) for pose in poses],
        "AxisOffsetY": [_text(pose.shift_xy_angstrom[1]) for pose in poses],
        "MoviePath": list(names),
        "FOVFraction": ["1"] * len(tilts),
    }
    for name, values in columns.items():
        ElementTree.SubElement(root, name).text = "\n".join(values)
    _add_ctf(root, series, tilts)
    add_movements(root, [pose.warp for pose in poses], image_xy)
    for name in _LOST_GRIDS:
        add_grid(root, name, np.zeros((1, 1, 1)))
    ElementTree.indent(root, "\t")
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add_ctf(root: ElementTree.Element, series: TiltSeries, tilts: Sequence[Tilt]) -> None:
    """Microscope, and defocus in micrometre, its astigmatism, direction and phase of every tilt, as grids."""
    known = [tilt.ctf for tilt in tilts if tilt.ctf is not None]
    middle = float(np.median([ctf.defocus_angstrom for ctf in known])) * 1e-4 if known else 0.0
    parameters = {
        "PixelSize": series.unweighted_stack.pixel_size_angstrom,
        "Voltage": series.microscope.voltage_kv,
        "Cs": series.microscope.spherical_aberration_mm,
        "Amplitude": series.microscope.amplitude_contrast,
        "Defocus": middle,
    }
    element = ElementTree.SubElement(root, "CTF")
    for name, value in parameters.items():
        ElementTree.SubElement(element, "Param", Name=name, Value=_text(value))
    ctfs = [tilt.ctf for tilt in tilts]
    # Defocus runs from mean + delta / 2 along the angle to mean - delta / 2 across; phases are in pi.
    _add_values(root, "GridCTF", [middle if c is None else c.defocus_angstrom * 1e-4 for c in ctfs])
    _add_values(
        root,
        "GridCTFDefocusDelta",
        [0.0 if c is None else c.astigmatism_angstrom * 1e-4 for c in ctfs],
    )
    _add_values(root, "GridCTFDefocusAngle", [0.0 if c is None else c.astigmatism_angle_deg for c in ctfs])
    _add_values(root, "GridCTFPhase", [0.0 if c is None else c.phase_shift_deg / 180.0 for c in ctfs])


def _add_values(root: ElementTree.Element, name: str, values: Sequence[float]) -> None:
    """A grid of one value a tilt."""
    add_grid(root, name, np.array(values).reshape(-1, 1, 1))


def _text(value: float) -> str:
    """Shortest text that reads back the same."""
    return repr(float(value) + 0.0)
