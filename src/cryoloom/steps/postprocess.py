"""Measure the resolution of an average, globally, locally and by direction, and sharpen it.

The mask is given, or made from the density above the noise outside the particle, extended, with a soft edge.
The correlation of the masked halves is corrected for the mask (phases randomised beyond the frequency where
it falls to 0.8). A resolution is given only if the evidence of the average supports it. Halves of a shell, or
with an imposed symmetry, agree for any orientations. So the curve without the radial part and the curve with
exchanged orientations, both stored with the average, are used here too. No resolution is given if the step
that found the poses gives none.

The map is weighted by the correlation of its halves and divided by the detector's modulation transfer if that
is given. It is sharpened by the B-factor, the slope of a straight line through the logarithm of the
amplitudes beyond 10 A. The local resolution is where the correlation of the halves in a Gaussian window falls
to 0.5; the resolution by direction is where it falls to 0.143 in cones of 20 degrees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.averaging.evaluation import HalfMaps, Verdict, half_curves, judged, without_doubt
from cryoloom.algorithms.map_quality.density_mask import density_mask
from cryoloom.algorithms.map_quality.directional_correlation import (
    DirectionalCorrelation,
    directional_correlation,
)
from cryoloom.algorithms.map_quality.local_resolution import local_resolution
from cryoloom.algorithms.map_quality.sharpening import (
    GuinierFit,
    fit_b_factor,
    radial_amplitude,
    reference_correlation,
    sharpened,
)
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.relion.modulation_transfer import read_mtf
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Average, FscCurve
from cryoloom.procedures.given_mask import given_mask

__all__ = ["PostprocessParams", "postprocess"]

Array = NDArray[np.float64]

#: Chosen: correlation of random phases at the resolution; above it, the curve is due to the mask.
_TIGHT_MASK = 0.1
_LARGEST_B_ANGSTROM2 = 400.0
"""Chosen: larger ones amplify noise only."""
_FSC_THRESHOLD = 0.143
"""Rosenthal & Henderson, J. Mol. Biol. 333 (2003)."""
_NOT_JUDGED = "unmasked"
"""The only curve of an average that another program refined; no resolution means that none was determined."""


class PostprocessParams(StepParams):
    """Parameters of postprocessing."""

    mask: Path | None = Field(
        None, description="Mask (.mrc) of the average's size, 0 to 1. Unset: found from the map."
    )
    mask_threshold_sd: float = Field(
        4.0,
        gt=0,
        description="Smallest density inside a mask that is found, in standard deviations of the noise "
        "around the particle.",
    )
    mask_lowpass_angstrom: float = Field(
        15.0, gt=0, description="Low-pass filter of the map that the mask is found from."
    )
    mask_extend_angstrom: float = Field(
        6.0, ge=0, description="Distance by which the mask extends beyond the density."
    )
    mask_edge_angstrom: float = Field(12.0, ge=0, description="Width over which the mask falls to 0.")
    b_factor_angstrom2: float | None = Field(
        None, description="B-factor for sharpening; positive values sharpen. Unset: measured."
    )
    mtf: Path | None = Field(
        None, description="Modulation transfer function of the detector, as RELION's STAR file. Unset: none."
    )
    mtf_pixel_angstrom: float | None = Field(
        None, gt=0, description="Pixel size that the modulation transfer function refers to."
    )
    lowpass_angstrom: float | None = Field(
        None, gt=0, description="Low-pass filter of the sharpened map. Unset: its resolution."
    )
    measure_local: bool = Field(True, description="Measure the local resolution.")


NOT_MEASURED = 0.0
"""Local resolution outside the mask: every voxel of a stored volume needs a number."""

FIGURES = (
    Figure(
        "resolution_angstrom",
        "angstrom",
        "Resolution",
        "Resolution at which the correlation of the masked halves, corrected for the mask, falls to 0.143. "
        "Not given if the halves agree only in the part that does not depend on orientation.",
        column=Column("Resolution"),
    ),
    Figure(
        "b_factor_angstrom2",
        "angstrom^2",
        "B-factor",
        "Amplitudes of the map fall as exp(-B k^2 / 4) beyond 10 A. Not measured if the resolution is near "
        "10 A.",
        good="30 to 200",
    ),
    Figure(
        "mask_percent",
        "percent",
        "Part of the box in the mask",
        "Volume of the mask, divided by that of the box.",
        good="5 to 30",
    ),
    Figure(
        "random_phase_correlation",
        "",
        "Correlation due to the mask",
        "Correlation of the masked halves with random phases, at the resolution.",
        good="below 0.1",
    ),
    Figure(
        "local_resolution_angstrom",
        "angstrom",
        "Local resolution, median",
        "Median over the mask of the resolution at which the correlation of the halves in a window falls "
        "to 0.5.",
    ),
    Figure(
        "worst_direction_angstrom",
        "angstrom",
        "Resolution along the worst direction",
        "Resolution at which the correlation of the halves falls to 0.143 in the worst cone of 20 degrees.",
    ),
    Figure(
        "anisotropy",
        "",
        "Anisotropy",
        "Resolution of the worst tenth of the directions, divided by that of the best tenth. 1 is "
        "isotropic; small boxes scatter up to 1.5.",
        good="below 1.5",
    ),
)
RECORDS = (
    Record(
        "fsc",
        "Correlation of the halves by shells: masked, unmasked, randomised, corrected, non-radial, null.",
        shows="curves",
    ),
    Record(
        "directions",
        "Correlation within cones: the best and the worst direction, and the part of all directions above "
        "0.143.",
        shows="curves",
    ),
    Record(
        "guinier", "Logarithm of the amplitudes over squared frequency, and the line fitted.", shows="curves"
    ),
    Record("local_resolution", "Percentiles of the local resolution over the mask.", shows="table"),
)


@step(
    "postprocess",
    per="average",
    needs=Average,
    gives=Average,
    version=3,
    bytes_needed=lambda average, params: (300 << 20) + 160 * int(np.prod(average.map.shape)),
    outside=lambda name, params: file_digests([path for path in (params.mask, params.mtf) if path]),
    citations=(
        "Rosenthal, P. B. & Henderson, R. (2003) Optimal determination of particle orientation, absolute "
        "hand, and contrast loss in single-particle electron cryomicroscopy. J. Mol. Biol. 333, 721-745, "
        "doi:10.1016/j.jmb.2003.07.013",
        "Chen, S. et al. (2013) High-resolution noise substitution to measure overfitting and validate "
        "resolution in 3D structure determination by single particle electron cryomicroscopy. "
        "Ultramicroscopy 135, 24-35, doi:10.1016/j.ultramic.2013.06.004",
        "Vilas, J. L. & Tagare, H. D. (2023) New measures of anisotropy of cryo-EM maps. Nat. Methods 20, "
        "1021-1024, doi:10.1038/s41592-023-01874-3",
    ),
    methods=(
        "[The average was sharpened by a B-factor of {b_factor_angstrom2:.0f} A^2][ and has a resolution of "
        "{resolution_angstrom:.1f} A (FSC 0.143 of masked halves after phase randomisation).]"
    ),
    figures=FIGURES,
    records=RECORDS,
)
def postprocess(average: Average, params: PostprocessParams, context: StepContext) -> Average:
    """Measure the resolution of an average within a mask, also locally and by direction, and sharpen it."""
    halves, density = _volumes(average)
    voxel = average.voxel_size_angstrom
    mask = _mask(average, density, params)
    found = _judged(average, halves, mask, context)
    resolution = found.resolution_angstrom
    context.figure("resolution_angstrom", resolution, reason=found.note or "the halves do not agree")
    if found.note:
        context.warn(found.note[0].upper() + found.note[1:])
    context.figure("mask_percent", 100.0 * float(mask.mean()))
    _tell_of_the_mask(found, halves.box_angstrom, context)
    weight = reference_correlation(found.curves["corrected"])
    transfer = _transfer(params, density.shape[0], voxel)
    raw = _whole(halves, mask) * mask
    b_factor = _b_factor(raw, voxel, weight, resolution, transfer, params, context)
    cut = params.lowpass_angstrom or resolution or _coarse(average, found, halves.box_angstrom)
    sharp = sharpened(raw, voxel, weight, b_factor, cut, transfer) * mask
    volumes = {"map": sharp, "half1": halves.maps[0], "half2": halves.maps[1], "mask": mask}
    if resolution is not None:
        _tell_of_directions(
            directional_correlation(halves.maps, mask, voxel, halves.n_shells), halves.box_angstrom, context
        )
    else:
        context.figure("worst_direction_angstrom", None, reason="the average has no resolution")
        context.figure("anisotropy", None, reason="the average has no resolution")
    if params.measure_local and resolution is not None:
        volumes["local_resolution"] = _local(halves, mask, voxel, resolution, context)
    else:
        reason = "not asked for" if resolution is not None else "the average has no resolution"
        context.figure("local_resolution_angstrom", None, reason=reason)
    context.record("fsc", _curves_record(found.curves, halves.box_angstrom))
    stored = {}
    for role, values in volumes.items():
        sink = context.new_pixels(role, tuple(values.shape), voxel, kind="volume")
        sink[...] = values.numpy().astype(np.float32)
        stored[role] = sink
    return Average(
        average.name,
        stored["map"],
        voxel,
        symmetry=average.symmetry,
        half1=stored["half1"],
        half2=stored["half2"],
        mask=stored["mask"],
        curves=_fsc_curves(found.curves, halves.box_angstrom),
        resolution_angstrom=resolution,
        resolution_note=found.note,
        n_particles=average.n_particles,
        diameter_angstrom=average.diameter_angstrom,
        local_resolution=stored.get("local_resolution"),
        pose_doubt=average.pose_doubt,
    )


def _volumes(average: Average) -> tuple[HalfMaps, torch.Tensor]:
    """Halves and map of an average, checked."""
    if average.half1 is None or average.half2 is None:
        raise DataUnfitError(
            f"the average {average.name} has no halves, so its resolution cannot be measured; use an "
            "average from refine or reconstruct_particle"
        )
    parts = [
        torch.tensor(np.asarray(part[...], dtype=np.float32))
        for part in (average.map, average.half1, average.half2)
    ]
    if len({part.shape for part in parts}) != 1:
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise DataUnfitError(f"map and halves of {average.name} differ in size: {shapes} voxels")
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise DataUnfitError(f"the map or halves of {average.name} contain values that are not finite")
    n = parts[0].shape[0]
    known = next(
        (len(curve.correlation) - 1 for curve in average.curves if curve.name == "masked"), n // 2 - 1
    )
    halves = HalfMaps((parts[1], parts[2]), average.voxel_size_angstrom, min(known, n // 2 - 1))
    return halves, parts[0]


def _mask(average: Average, density: torch.Tensor, params: PostprocessParams) -> torch.Tensor:
    if params.mask is None:
        found = density_mask(
            density,
            average.voxel_size_angstrom,
            average.diameter_angstrom,
            lowpass_angstrom=params.mask_lowpass_angstrom,
            threshold_sd=params.mask_threshold_sd,
            extend_angstrom=params.mask_extend_angstrom,
            edge_angstrom=params.mask_edge_angstrom,
        )
        if not bool((found > 0.5).any()):
            raise DataUnfitError(
                f"no density of {average.name} is {params.mask_threshold_sd:g} standard deviations above "
                "the noise around the particle; lower mask_threshold_sd, or give a mask"
            )
        return found
    return given_mask(params.mask, tuple(density.shape), "postprocess")


def _judged(average: Average, halves: HalfMaps, mask: torch.Tensor, context: StepContext) -> Verdict:
    """The resolution within the mask; the evidence of the poses is that of the average."""
    curves = half_curves(halves, mask, context.rng)
    own = {curve.name: np.array(curve.correlation) for curve in average.curves}
    if "non-radial" in own:
        for name in ("non-radial", "null", "pose-dependent"):
            if name in own:
                curves[name] = own[name]
    else:
        curves["non-radial"] = halves.non_radial_correlation(mask)
        if average.symmetry.upper() != "C1":
            context.warn(
                f"The halves have the symmetry {average.symmetry} imposed, and no correlation of "
                "unsymmetrised halves is stored with them, so part of their agreement may come from the "
                "symmetry alone"
            )
    if average.pose_doubt:
        return without_doubt(Verdict(curves, None, ""), average.pose_doubt)
    if average.resolution_angstrom is None and any(curve.name != _NOT_JUDGED for curve in average.curves):
        return Verdict(curves, None, average.resolution_note or "the average has no resolution")
    order = len(symmetry_matrices(average.symmetry))
    return judged(curves, halves.box_angstrom, float((mask**2).mean()) / order)


def _tell_of_the_mask(found: Verdict, box_angstrom: float, context: StepContext) -> None:
    if found.resolution_angstrom is None or "randomised" not in found.curves:
        context.figure(
            "random_phase_correlation", None, reason="the halves agree to the last shell, or nowhere"
        )
        return
    shell = min(int(box_angstrom / found.resolution_angstrom), len(found.curves["randomised"]) - 1)
    made = float(np.mean(found.curves["randomised"][max(1, shell - 2) : shell + 1]))
    context.figure("random_phase_correlation", made)
    if made > _TIGHT_MASK:
        context.warn(
            f"The mask alone gives a correlation of {made:.2f} at the resolution: it is too tight, or its "
            "edge is too sharp; increase mask_extend_angstrom and mask_edge_angstrom"
        )


def _whole(halves: HalfMaps, mask: torch.Tensor) -> torch.Tensor:
    """Mean of the halves, which have no prior, minus its mean outside the mask."""
    both = 0.5 * (halves.maps[0] + halves.maps[1])
    outside = mask == 0
    return both - both[outside].mean() if bool(outside.any()) else both


def _b_factor(
    raw: torch.Tensor,
    voxel: float,
    weight: Array,
    resolution: float | None,
    transfer: Array | None,
    params: PostprocessParams,
    context: StepContext,
) -> float:
    """B-factor for sharpening; measured on the masked, weighted map unless it is given."""
    if params.b_factor_angstrom2 is not None:
        context.figure("b_factor_angstrom2", params.b_factor_angstrom2)
        return params.b_factor_angstrom2
    fit: GuinierFit | None = None
    if resolution is not None:
        amplitude = radial_amplitude(sharpened(raw, voxel, weight, 0.0, 2.0 * voxel, transfer))
        fit = fit_b_factor(amplitude, raw.shape[0] * voxel, resolution)
    if fit is None:
        reason = (
            "too few shells lie between 10 A and the resolution"
            if resolution is not None
            else "the average has no resolution"
        )
        context.figure("b_factor_angstrom2", None, reason=reason)
        return 0.0
    context.figure("b_factor_angstrom2", fit.b_factor_angstrom2)
    context.record(
        "guinier",
        {
            "x_title": "Squared frequency (1/A^2)",
            "y_title": "Logarithm of the amplitude",
            "x": np.round(fit.squared_per_angstrom2, 6).tolist(),
            "curves": {
                "map": np.round(fit.log_amplitude, 4).tolist(),
                "fit": np.round(fit.fitted, 4).tolist(),
            },
        },
    )
    return float(np.clip(fit.b_factor_angstrom2, 0.0, _LARGEST_B_ANGSTROM2))


def _transfer(params: PostprocessParams, n: int, voxel: float) -> Array | None:
    """The detector's modulation transfer by shells of the map."""
    if params.mtf is None:
        return None
    if params.mtf_pixel_angstrom is None:
        raise UserInputError(
            "the modulation transfer is given per detector pixel, whose size is not set; set "
            "mtf_pixel_angstrom of postprocess"
        )
    frequency, value = read_mtf(params.mtf)
    shells = np.arange(n // 2 + 1) / (n * voxel)
    return np.interp(shells * params.mtf_pixel_angstrom, frequency, value)


def _coarse(average: Average, found: Verdict, box_angstrom: float) -> float:
    """Low-pass filter of a map without a resolution: where the curve first falls, but at least 40 A."""
    fallen = np.flatnonzero(found.curves["corrected"][1:] < _FSC_THRESHOLD) + 1
    shell = int(fallen[0]) if len(fallen) else 1
    return max(40.0, box_angstrom / max(shell, 1), 2.0 * average.voxel_size_angstrom)


def _local(
    halves: HalfMaps, mask: torch.Tensor, voxel: float, resolution: float, context: StepContext
) -> torch.Tensor:
    found = local_resolution(halves.maps, mask, voxel, resolution)
    inside = found.map[np.isfinite(found.map)]
    context.figure("local_resolution_angstrom", float(np.median(inside)))
    named = {
        f"{p} % of the mask is finer than": f"{np.percentile(inside, p):.2f} A" for p in (5, 25, 50, 75, 95)
    }
    context.record(
        "local_resolution", named | {"window, standard deviation": f"{found.window_sd_angstrom:.1f} A"}
    )
    return torch.tensor(np.nan_to_num(found.map, nan=NOT_MEASURED))


def _tell_of_directions(found: DirectionalCorrelation, box_angstrom: float, context: StepContext) -> None:
    finite = np.minimum(found.resolution_angstrom, box_angstrom)
    context.figure("worst_direction_angstrom", float(finite[found.worst]))
    best, worst = np.percentile(finite, (10, 90))
    context.figure("anisotropy", float(worst / best))
    named = {
        f"worst direction {_spoken(found.directions[found.worst])}": found.curves[found.worst],
        f"best direction {_spoken(found.directions[found.best])}": found.curves[found.best],
        "part of directions above 0.143": found.occupancy,
    }
    context.record("directions", _curves_record(named, box_angstrom))


def _spoken(direction: Array) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in direction) + ")"


def _curves_record(curves: dict[str, Array], box_angstrom: float) -> dict[str, Any]:
    return {
        "x_title": "Frequency (1/A)",
        "y_title": "Correlation",
        "x": [round(i / box_angstrom, 5) for i in range(max(map(len, curves.values())))],
        "curves": {name: np.round(curve, 4).tolist() for name, curve in curves.items()},
    }


def _fsc_curves(curves: dict[str, Array], box_angstrom: float) -> tuple[FscCurve, ...]:
    return tuple(
        FscCurve(
            name,
            tuple(round(shell / box_angstrom, 6) for shell in range(len(curve))),
            tuple(round(float(value), 4) for value in curve),
        )
        for name, curve in curves.items()
    )
