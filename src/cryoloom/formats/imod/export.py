"""IMOD's files of a tilt series: stack, angles, transforms, and command files that make the tomogram.

Poses become transforms as `imod_transforms` derives. IMOD knows an excluded tilt (``EXCLUDELIST``), so every
section stays. Its ``tilt`` writes slices along y, to be turned with ``trimvol -rx``; against ours the
volume is then mirrored in z (conventions.md), and for even sizes its voxels sit half a pixel of the tilt
images away, as its centre does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.placement import exportable, place_pixels, poses_by_section, write_notes
from cryoloom.formats.imod.defocus import write_imod_defocus
from cryoloom.formats.imod.transforms import write_angles, write_xf, xf_from_poses
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Pose, Stack, Tilt, TiltSeries, Tomogram

__all__ = ["verify_imod", "write_imod"]

#: Chosen: thickness if there is no tomogram; thicker than most lamellae and edges of cells.
_DEFAULT_THICKNESS_ANGSTROM = 3000.0


def write_imod(
    items: Sequence[tuple[TiltSeries, Tomogram | None]], directory: Path, *, link: bool = True
) -> tuple[Path, ...]:
    """One folder a series in ``directory``, each with what `_write_series` lists; all of them checked.

    A series that is not aligned gets its stack and nominal angles; one aligned in part is left out, with a
    note in ``NOTES.txt``. ``link`` as in `place_pixels`.
    """
    fit, notes = exportable(items, check_exportable)
    written: list[Path] = []
    for series, tomogram in fit:
        folder = directory / series.name
        folder.mkdir(parents=True, exist_ok=True)
        written += _write_series(series, tomogram, folder, link=link)
        verify_imod(folder, series.name)
    return (*written, *write_notes(directory, notes))


def verify_imod(folder: Path, name: str) -> None:
    """Raise DataUnfitError unless every text file has a line for every section of the stack."""
    n_sections = MrcPixels(folder / f"{name}.mrc").shape[0]
    for suffix in (".rawtlt", ".tlt", ".xf", ".xtilt"):
        path = folder / f"{name}{suffix}"
        if not path.is_file():
            continue
        n_lines = len(path.read_text(encoding="utf-8").split("\n")) - 1
        if n_lines != n_sections:
            raise DataUnfitError(
                f"{path} has {n_lines} lines for {n_sections} sections of {name}.mrc; export again"
            )


def check_exportable(series: TiltSeries) -> None:
    """Refuse a series without one image a section, or aligned in part."""
    poses_by_section(series)


def _write_series(series: TiltSeries, tomogram: Tomogram | None, folder: Path, *, link: bool) -> list[Path]:
    """NAME.mrc, .rawtlt; when aligned .tlt, .xf, .xtilt, newst.com, tilt.com; our tomogram as it is.

    With CTFs NAME.defocus, and, when aligned, ctfcorrection.com.
    """
    tilts, poses = poses_by_section(series)
    name, stack = series.name, series.unweighted_stack
    files = [_place_stack(stack, folder / f"{name}.mrc", link=link)]
    input_name = files[0].name
    if series.weighted is not None:
        files.append(_place_stack(series.weighted, folder / f"{name}_dose_weighted.mrc", link=link))
        input_name = files[1].name
    rawtlt = folder / f"{name}.rawtlt"
    write_angles(rawtlt, [tilt.nominal_tilt_deg for tilt in tilts])
    files.append(rawtlt)
    if poses is not None:
        files += _write_alignment(series, poses, folder)
        files += _write_commands(series, tomogram, tilts, input_name, folder)
    if any(tilt.ctf is not None for tilt in tilts):
        files.append(folder / f"{name}.defocus")
        write_imod_defocus(files[-1], series)
        if poses is not None:
            files.append(_write_ctf_correction(series, tomogram, folder))
    if tomogram is not None:
        path = folder / f"{name}_cryoloom.mrc"
        files.append(
            place_pixels(tomogram.volume, path, tomogram.voxel_size_angstrom, link=link, kind="volume")
        )
    return files


def _place_stack(stack: Stack, path: Path, *, link: bool) -> Path:
    return place_pixels(stack.images, path, stack.pixel_size_angstrom, link=link)


def _write_alignment(series: TiltSeries, poses: list[Pose], folder: Path) -> list[Path]:
    stack = series.unweighted_stack
    xf, tlt, xtilt = (folder / f"{series.name}{suffix}" for suffix in (".xf", ".tlt", ".xtilt"))
    write_xf(xf, xf_from_poses(poses, stack.pixel_size_angstrom, stack.shape_yx))
    write_angles(tlt, [pose.tilt_deg for pose in poses])
    if not any(pose.x_tilt_deg for pose in poses):
        return [xf, tlt]
    write_angles(xtilt, [pose.x_tilt_deg for pose in poses])
    return [xf, tlt, xtilt]


def _write_commands(
    series: TiltSeries, tomogram: Tomogram | None, tilts: list[Tilt], input_name: str, folder: Path
) -> list[Path]:
    """newst.com and tilt.com: aligned stack and tomogram at our tomogram's binning, width and thickness."""
    name, stack = series.name, series.unweighted_stack
    binning, width, height, thickness = _volume_size(stack, tomogram)
    newst = [
        "$newstack -StandardInput",
        f"InputFile {input_name}",
        f"OutputFile {name}_ali.mrc",
        f"TransformFile {name}.xf",
        f"SizeToOutputInXandY {width},{height}",
        "OffsetsInXandY 0,0",
        "TaperAtFill 1,1",
        "AdjustOrigin",
        "ImagesAreBinned 1",
        f"BinByFactor {binning}",
        *(["AntialiasFilter -1"] if binning > 1 else []),
    ]
    excluded = [str(i + 1) for i, tilt in enumerate(tilts) if tilt.is_excluded]
    tilt = [
        "$tilt -StandardInput",
        f"InputProjections {name}_ali.mrc",
        f"OutputFile {name}_full_rec.mrc",
        f"IMAGEBINNED {binning}",
        f"FULLIMAGE {width * binning} {height * binning}",
        f"THICKNESS {thickness}",
        f"TILTFILE {name}.tlt",
        *([f"XTILTFILE {name}.xtilt"] if (folder / f"{name}.xtilt").is_file() else []),
        "XAXISTILT 0.0",
        "OFFSET 0.0",
        "SHIFT 0.0 0.0",
        "RADIAL 0.35 0.035",
        "FalloffIsTrueSigma 1",
        "SCALE 0.0 1.0",
        "PERPENDICULAR",
        "MODE 2",
        "SUBSETSTART 0 0",
        "AdjustOrigin",
        "ActionIfGPUFails 1,2",
        *([f"EXCLUDELIST {','.join(excluded)}"] if excluded else []),
    ]
    paths = []
    for filename, lines in (("newst.com", newst), ("tilt.com", tilt)):
        path = folder / filename
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _write_ctf_correction(series: TiltSeries, tomogram: Tomogram | None, folder: Path) -> Path:
    """ctfcorrection.com, which flips the phases of the aligned stack strip by strip."""
    name, microscope = series.name, series.microscope
    binning = _volume_size(series.unweighted_stack, tomogram)[0]
    lines = [
        "$ctfphaseflip -StandardInput",
        f"InputStack {name}_ali.mrc",
        f"AngleFile {name}.tlt",
        f"OutputFileName {name}_ctfcorr_ali.mrc",
        f"TransformFile {name}.xf",
        f"DefocusFile {name}.defocus",
        # IMOD's own handedness is our +1 (imod_defocus).
        *(["InvertTiltAngles"] if series.handedness.applied == -1 else []),
        f"Voltage {microscope.voltage_kv:g}",
        f"SphericalAberration {microscope.spherical_aberration_mm:g}",
        f"AmplitudeContrast {microscope.amplitude_contrast:g}",
        f"PixelSize {series.unweighted_stack.pixel_size_angstrom * binning / 10:.6g}",
        "DefocusTol 200",
        "InterpolationWidth 15",
    ]
    path = folder / "ctfcorrection.com"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _volume_size(stack: Stack, tomogram: Tomogram | None) -> tuple[int, int, int, int]:
    """Binning, width and height of the aligned stack in binned pixels, thickness in unbinned ones.

    IMOD bins by whole numbers, so ours is rounded and the size kept in angstrom.
    """
    pixel_size = stack.pixel_size_angstrom
    if tomogram is None:
        n_y, n_x = stack.shape_yx
        return 1, n_x, n_y, 2 * round(_DEFAULT_THICKNESS_ANGSTROM / pixel_size / 2)
    ratio = tomogram.voxel_size_angstrom / pixel_size
    binning = max(1, round(ratio))
    n_z, n_y, n_x = tomogram.volume.shape
    return binning, round(n_x * ratio / binning), round(n_y * ratio / binning), 2 * round(n_z * ratio / 2)
