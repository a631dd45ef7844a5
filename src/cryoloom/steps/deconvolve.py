"""Deconvolve tomograms by one CTF, to view and segment them ("dimifilter").

Tegunov's filter (tom_deconv): a Wiener filter whose signal-to-noise ratio falls off exponentially, with a
high-pass. The defocus is the median of the tilts within 15 degrees unless it is set. The result is for
viewing: average particles from tomograms without deconvolution.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from pydantic import Field

from cryoloom.algorithms.denoising.deconvolution import deconvolution_filter, filter_reach_px, filtered_volume
from cryoloom.algorithms.images.volume_tiles import TilePlan, map_tiles
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Tomogram

__all__ = ["DeconvolveParams", "deconvolve"]

_NEARLY_FLAT_DEG = 15.0
"""Chosen: tilts whose defocus is that of the tomogram's middle."""


class DeconvolveParams(StepParams):
    """Parameters of the filter."""

    strength: float = Field(
        1.0, ge=0, le=3, description="Strength S: the signal-to-noise ratio at low frequency is 10^(3 S)."
    )
    falloff: float = Field(
        0.7, ge=0, le=10, description="How fast the signal-to-noise ratio falls with frequency."
    )
    highpass_fraction: float = Field(
        0.02, ge=0, lt=1, description="Frequencies below this fraction of Nyquist are attenuated."
    )
    defocus_angstrom: float | None = Field(
        None, gt=0, description="Defocus to undo. Unset: the median of the tilts within 15 degrees."
    )
    phase_flipped: bool | None = Field(
        None, description="Set if the phases were flipped before. Unset: from the tomogram's metadata."
    )
    multiscale: bool = Field(False, description="Also write an OME-Zarr pyramid.")


# Input, padded copy, spectrum, planes of the filter, and the inverse: float32 voxels of a tile.
_TILE_COPIES = 6
_SMALLEST_TILE = 160**3
_BESIDES_BYTES = 250_000_000
"""Chosen: a smaller tile is mostly margin. Besides tiles, memory holds torch's code and pools."""


def _bytes_needed(tomogram: Tomogram, params: DeconvolveParams) -> int:
    """The volume as one tile; with less memory it is divided into several."""
    voxels = min(math.prod(n + 128 for n in tomogram.volume.shape), 400e6)
    return int(4 * _TILE_COPIES * max(voxels, _SMALLEST_TILE)) + _BESIDES_BYTES


FIGURES = (
    Figure("defocus_angstrom", "angstrom", "Defocus undone", "Defocus of the CTF that the filter undoes."),
    Figure(
        "contrast_gain",
        "",
        "Contrast, after over before",
        "Standard deviation of the middle of the deconvolved tomogram, divided by that of the original.",
    ),
)
RECORDS = (
    Record(
        "deconvolution",
        "The filter that multiplies the transform of the tomogram, and the CTF it undoes.",
        shows="deconvolution",
    ),
)


@step(
    "deconvolve",
    per="tomogram",
    needs=Tomogram,
    gives=Tomogram,
    bytes_needed=_bytes_needed,
    citations=("Tegunov, D. (2017) tom_deconv; Tegunov & Cramer, Nat. Methods 16, 1146 (2019)",),
    methods=(
        "The CTF of whole tomograms was undone by a radial Wiener-like filter[, at a defocus of "
        "{defocus_angstrom:.0f} Å]."
    ),
    figures=FIGURES,
    records=RECORDS,
)
def deconvolve(tomogram: Tomogram, params: DeconvolveParams, context: StepContext) -> Tomogram:
    """Undo the CTF of a tomogram with one radial filter, shown as a curve in the report."""
    defocus, phase_shift = _defocus(tomogram, params)
    is_flipped = _is_ctf_corrected(tomogram) if params.phase_flipped is None else params.phase_flipped
    response, transfer = deconvolution_filter(
        tomogram.voxel_size_angstrom,
        defocus,
        tomogram.series.microscope,
        strength=params.strength,
        falloff=params.falloff,
        highpass_fraction=params.highpass_fraction,
        phase_shift_deg=phase_shift,
        is_phase_flipped=is_flipped,
    )
    n_z, n_y, n_x = tomogram.volume.shape
    reach = max(8, min(filter_reach_px(response), 160))
    margins = min(reach, n_z), min(reach, n_y), min(reach, n_x)
    room = max(_SMALLEST_TILE, (context.memory_bytes - _BESIDES_BYTES) / (4 * _TILE_COPIES))
    plan = TilePlan.fitting((n_z, n_y, n_x), margins, room)
    sink = context.new_pixels(
        "tomogram",
        plan.volume_shape,
        tomogram.voxel_size_angstrom,
        kind="volume",
        multiscale=params.multiscale,
    )
    tiles = map_tiles(
        [tomogram.volume], plan, lambda tile: filtered_volume(tile, response, context.n_threads), sink
    )
    for done, _ in enumerate(tiles, start=1):
        context.progress(done, len(plan.starts))
    middle = tuple(slice(n // 2 - min(n, 64) // 2, n // 2 + (min(n, 64) + 1) // 2) for n in (n_z, n_y, n_x))
    context.figure("defocus_angstrom", defocus)
    context.figure(
        "contrast_gain", float(np.std(sink[middle])) / max(float(np.std(tomogram.volume[middle])), 1e-30)
    )
    every = slice(None, None, 8)
    frequency = np.linspace(0, 0.5 / tomogram.voxel_size_angstrom, len(response))
    context.record(
        "deconvolution",
        {
            "frequency_per_angstrom": frequency[every].tolist(),
            "filter": response[every].tolist(),
            "ctf": transfer[every].tolist(),
        },
    )
    return replace(tomogram, volume=sink, even=None, odd=None, method=f"{tomogram.method}, deconvolved")


def _is_ctf_corrected(tomogram: Tomogram) -> bool:
    """Whether phases were flipped before or in the reconstruction."""
    return "CTF" in tomogram.method


def _defocus(tomogram: Tomogram, params: DeconvolveParams) -> tuple[float, float]:
    """Defocus in angstrom and phase shift in degrees to undo."""
    known = [tilt for tilt in tomogram.series.included if tilt.ctf is not None]
    flat = sorted(known, key=lambda tilt: abs(tilt.nominal_tilt_deg))
    near = [tilt for tilt in flat if abs(tilt.nominal_tilt_deg) <= _NEARLY_FLAT_DEG] or flat[:3]
    ctfs = [tilt.ctf for tilt in near if tilt.ctf is not None]
    phase_shift = float(np.median([ctf.phase_shift_deg for ctf in ctfs])) if ctfs else 0.0
    if params.defocus_angstrom is not None:
        return params.defocus_angstrom, phase_shift
    if not ctfs:
        raise DataUnfitError(
            "no tilt of this tomogram has a CTF; run estimate_ctf before, or set defocus_angstrom",
            series=tomogram.name,
        )
    return float(np.median([ctf.defocus_angstrom for ctf in ctfs])), phase_shift
