"""Pixels to and from the scratch folder of an outside program, and its calls, one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.contract.program import Call, Workplace, setting
from cryoloom.contract.step import ProgramOutput, StepContext, StepParams
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.placement import place_pixels
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.model import Pixels, PixelSink, Stack, Tilt, TiltSeries

__all__ = [
    "ProgramParams",
    "json_lines",
    "keep_stack",
    "keep_volume",
    "make_calls",
    "place_float32",
    "tilts_by_section",
    "workplace_of",
]

_ROWS_AT_ONCE = 64
"""Chosen: bounds memory."""


class ProgramParams(StepParams):
    """Parameters of every step that runs an outside program."""

    time_limit_hours: float = setting(
        24.0, gt=0, description="The program is stopped after this many hours, and the item fails."
    )


def workplace_of(context: StepContext) -> Workplace:
    """Resources that the engine assigned to this item."""
    kind, _, number = context.device.partition(":")
    gpu = None if kind == "cpu" else int(number or 0)
    return Workplace(context.n_threads, gpu, context.memory_bytes)


def make_calls(calls: Sequence[Call], params: ProgramParams, context: StepContext) -> list[ProgramOutput]:
    """Run programs one after the other; the first that fails ends the item."""
    outputs = []
    for i, call in enumerate(calls):
        context.progress(i, len(calls))
        outputs.append(context.call(call, timeout_s=3600 * params.time_limit_hours))
    context.progress(len(calls), len(calls))
    return outputs


def tilts_by_section(series: TiltSeries, stack: Stack) -> list[Tilt]:
    """The tilt of every section of a stack. Raises DataUnfitError if a section belongs to no tilt."""
    tilts = sorted((t for t in series.tilts if t.section is not None), key=lambda t: t.section or 0)
    n_sections = stack.images.shape[0]
    if [tilt.section for tilt in tilts] != list(range(n_sections)):
        raise DataUnfitError(
            f"the stack of {series.name} has {n_sections} sections, but its tilts name "
            f"{len(tilts)} of them; import the series or align its frames again"
        )
    return tilts


def place_float32(
    pixels: Pixels, path: Path, pixel_size_angstrom: float, sections: Sequence[int] | None = None
) -> None:
    """Put an MRC file of 32-bit floats into the scratch folder, which every program reads.

    sections : those to write, in this order; all by default, and then pixels that lie in such a file are
    linked, not copied.
    """
    source = getattr(pixels, "path", None)
    is_as_wanted = source is not None and Path(source).suffix == ".mrc" and pixels.dtype == np.float32
    if sections is None and is_as_wanted:
        place_pixels(pixels, path, pixel_size_angstrom, link=True)
        return
    wanted = range(pixels.shape[0]) if sections is None else sections
    sink = MrcSink(path, (len(wanted), *pixels.shape[1:]), pixel_size_angstrom)
    try:
        for i, section in enumerate(wanted):
            sink[i] = pixels[section]
        sink.commit()
    except BaseException:
        sink.discard()
        raise


def keep_stack(
    context: StepContext,
    role: str,
    path: Path,
    shape: tuple[int, ...],
    pixel_size_angstrom: float,
) -> PixelSink:
    """Store a stack that a program wrote; its sections are checked as they are read."""
    made = _opened(path, shape)
    sink = context.new_pixels(role, made.shape, pixel_size_angstrom)
    for section in range(made.shape[0]):
        sink[section] = made[section]
    return sink


def keep_volume(
    context: StepContext,
    role: str,
    path: Path,
    shape_zyx: tuple[int, int, int],
    voxel_size_angstrom: float,
    *,
    sections_are: str = "z",
    mirror_z: bool = False,
    multiscale: bool = False,
) -> PixelSink:
    """Store a volume that a program wrote.

    sections_are : "z" where the file's sections are planes of one z; "y" where they are of one y, with rows
    of z, as IMOD's tilt writes them. mirror_z : z runs the other way in the program.
    """
    n_z, n_y, n_x = shape_zyx
    made = _opened(path, shape_zyx if sections_are == "z" else (n_y, n_z, n_x))
    sink = context.new_pixels(
        role, shape_zyx, voxel_size_angstrom, kind="volume", dtype="float32", multiscale=multiscale
    )
    if sections_are == "z":
        for z in range(n_z):
            sink[n_z - 1 - z if mirror_z else z] = made[z]
        return sink
    for low in range(0, n_y, _ROWS_AT_ONCE):
        block = made[low : low + _ROWS_AT_ONCE].transpose(1, 0, 2)
        sink[:, low : low + block.shape[1], :] = np.ascontiguousarray(block[::-1] if mirror_z else block)
    return sink


def json_lines(entries: Mapping[str, Any]) -> str:
    """A JSON file with an entry a line."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in entries.items())
    return f"{{\n{lines}\n}}\n"


def _opened(path: Path, shape: tuple[int, ...]) -> MrcPixels:
    """The file that a program wrote, with the expected shape."""
    made = MrcPixels(path)
    if made.shape != tuple(shape):
        raise DataUnfitError(
            f"{path.name} has the shape {_sizes(made.shape)} (x, y, sections), expected {_sizes(shape)}; the "
            "program did not do what it was asked, so the result is not used"
        )
    return made


def _sizes(shape: Sequence[Any]) -> str:
    return " x ".join(str(n) for n in (shape[2], shape[1], shape[0]))
