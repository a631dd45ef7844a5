"""Defocus and astigmatism of every tilt from its Thon rings; the whole series is one model.

The images are cut into overlapping tiles. Their power spectra are divided by a smooth background and
compared, by likelihood, with rings whose defocus varies over the tilted image. Tiles are not rescaled. Tilts
share what does not change between them (ring amplitude, astigmatism, inclination of the specimen, handedness)
and are coupled by a prior on defocus that is smooth in time and in tilt. A tilt without visible rings gets
the prediction of the model and is marked as predicted; excluded tilts are ignored. With a phase plate, the
phase shift of each tilt is estimated as well, with a prior that it varies slowly.

The handedness has two estimators: the likelihood of the whole series with either sign, and the defocus
gradients of the single tilts, fitted freely. If they do not agree clearly it is inconclusive. The thickness
follows from the nodes, where the rings vanish, for evenly distributed scatterers (as in CTFFIND5).

Gold beads are masked: they scatter strongly and often lie on a surface, so the fit would give the defocus of
the gold. Without gold, the rings show the defocus of the middle of the specimen. It is given at the centre of
the image (``refers_to`` "specimen"). If poses are known, it is converted to the defocus at their origin with
the measured place of the specimen (`algorithms/series/specimen_frame`), as `align_series` does later.
Methods: Rohou & Grigorieff (2015) for the model of rings and the fit resolution; Zhang (2016) for equiphase
averaging; Tegunov et al. (2021) for one model per series; Elferich et al. (2024) for the nodes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, RingData, whiten
from cryoloom.algorithms.ctf.defocus_trend import off_the_trend
from cryoloom.algorithms.ctf.fit_quality import RingProfile, fit_resolution_angstrom, ring_profile
from cryoloom.algorithms.ctf.phase import principal_defoci
from cryoloom.algorithms.ctf.series_fit import SeriesFit, coarse_defocus, fit_series
from cryoloom.algorithms.ctf.series_model import CERTAIN_GAIN, TiltRings, at_origin
from cryoloom.algorithms.ctf.shared_properties import Thickness
from cryoloom.algorithms.ctf.weak_series import weighed_by_noise
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, TileSpectra, tile_spectra
from cryoloom.algorithms.images.single_thread_pool import IMAGES_AT_ONCE, each_image, of_each
from cryoloom.algorithms.series.gold_shadows import GoldShadows, find_gold
from cryoloom.algorithms.series.prepared_arrays import Arrays
from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract.figures import Bounds, Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Ctf, Sourced, Stack, Tilt, TiltSeries
from cryoloom.procedures.prepared_images import PreparedImages, image_facts, prepared

__all__ = ["EstimateCtfParams", "estimate_ctf"]

# A thickness is reported if it is known to a fifth, or to 300 angstrom, and its first node lies within the
# visible rings of three tilts.
THICKNESS_KNOWN_TO_ANGSTROM, THICKNESS_KNOWN_TO, MIN_NODES = 300.0, 0.2, 3
#: Chosen: frequency of the node over that of the last visible ring; rings fade towards their node.
NODE_BEYOND_RINGS = 1.25
# Rings of defocus D at frequency k come from points 2 lambda D k apart, for 8 angstrom 0.3 of D / 60.
SMALLEST_TILE_ANGSTROM, TILE_PER_DEFOCUS = 700.0, 1 / 60
N_FIRST_LOOK = 5
"""Chosen: tilts from which the size of tiles is decided; the least tilted have the clearest rings."""


class EstimateCtfParams(StepParams):
    """Parameters of the CTF estimation."""

    min_defocus_angstrom: float = Field(5000.0, gt=0, description="Smallest defocus of the search.")
    max_defocus_angstrom: float = Field(80000.0, gt=0, description="Largest defocus of the search.")
    low_resolution_angstrom: float = Field(35.0, gt=0, description="Lower end of the fitted frequencies.")
    high_resolution_angstrom: float = Field(
        5.0, gt=0, description="Upper end of the fitted frequencies; at most 95 % of Nyquist is used."
    )
    tile_angstrom: float | None = Field(
        None,
        gt=0,
        description="Edge of the tiles. Unset: 700, or a sixtieth of the defocus if that is larger.",
    )
    refit_tilts: tuple[int, ...] = Field(
        (),
        description="Acquisition indices of tilts that are fitted again near the defocus that the other "
        "tilts predict.",
    )
    predict_tilts: tuple[int, ...] = Field(
        (),
        description="Acquisition indices of tilts whose fit is rejected. Their CTF is predicted from the "
        "other tilts; their images are kept.",
    )
    phase_plate: bool = Field(False, description="Estimate the phase shift of a phase plate in each tilt.")
    phase_shift_deg: float = Field(
        0.0, ge=0, lt=180, description="Known phase shift of a phase plate; it is not estimated."
    )
    hide_gold: bool = Field(
        True,
        description="Mask gold beads in the spectra. They often lie on a surface, and the fit would give "
        "their defocus.",
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> EstimateCtfParams:
        if self.max_defocus_angstrom <= self.min_defocus_angstrom:
            raise ValueError(
                f"max_defocus_angstrom is {self.max_defocus_angstrom:g}; expected more than "
                f"min_defocus_angstrom, {self.min_defocus_angstrom:g}"
            )
        if self.high_resolution_angstrom >= self.low_resolution_angstrom:
            raise ValueError(
                f"high_resolution_angstrom is {self.high_resolution_angstrom:g}; expected less than "
                f"low_resolution_angstrom, {self.low_resolution_angstrom:g}"
            )
        if self.phase_plate and self.phase_shift_deg:
            raise ValueError(
                "phase_shift_deg is a known phase shift and phase_plate estimates one; set phase_shift_deg "
                "to 0, or phase_plate to false"
            )
        return self


def _bytes_needed(series: TiltSeries, params: EstimateCtfParams) -> int:
    n_y, n_x = series.stack.shape_yx if series.stack is not None else (4092, 5760)
    # Images with and without gold, or with a transform; spectra and residuals of up to 100 tiles per tilt.
    return 300_000_000 + 12 * IMAGES_AT_ONCE * n_y * n_x + 9_000_000 * len(series.tilts)


_SETTLED_STEPS = 2.6
"""The least tilted of a whole series (`N_FIRST_LOOK`) lie within so many steps of zero; those of one that has
not come to zero do not."""


def _prepare_ahead(series: TiltSeries, params: EstimateCtfParams, context: StepContext) -> TiltSeries:
    """Spectra of the tilts that exist, once the least tilted ones are there, which show gold and defocus."""
    tilts = [tilt for tilt in series.tilts if not tilt.is_excluded and tilt.section is not None]
    band = _band(series, params)
    least = np.abs([tilt.nominal_tilt_deg for tilt in _least_tilted(tilts)])
    step = np.median(np.diff(sorted(tilt.nominal_tilt_deg for tilt in tilts))) if len(tilts) > 1 else 0.0
    if band is None or len(tilts) < N_FIRST_LOOK or least.max() > _SETTLED_STEPS * step:
        return series
    gold = _gold(series, tilts, context) if params.hide_gold else None
    look = functools.cache(lambda: _first_look(series, _least_tilted(tilts), band, params, context))
    tile_angstrom, stack = _tile_angstrom(params, look), series.unweighted_stack
    _kept_spectra(series, band, tile_angstrom, gold, context).prepare(
        [tilt.section or 0 for tilt in tilts],
        lambda section: _spectra_of(stack, section, band, tile_angstrom, gold, context.device),
    )
    return series


FIGURES = (
    Figure(
        "defocus_median_angstrom",
        "angstrom",
        "Defocus, median",
        "Underfocus of the middle of the specimen.",
        good="near the value set at the microscope",
        column=Column("Defocus", digits=2, unit="µm", divide_by=1e4),
        role="defocus",
    ),
    Figure(
        "fit_resolution_median_angstrom",
        "angstrom",
        "CTF fit resolution, median",
        "Finest detail up to which the rings of the spectrum follow the model. It cannot be finer than two "
        "pixels.",
        bounds=Bounds(20.0, 40.0, "Without rings beyond this resolution the defocus is a guess."),
        column=Column("CTF fit"),
        role="ctf_resolution",
    ),
    Figure(
        "n_beads_hidden",
        "",
        "Gold beads masked",
        "Gold beads that were masked in the spectra, median over tilts.",
    ),
    Figure(
        "n_predicted",
        "tilts",
        "CTFs predicted",
        "Tilts without visible rings, whose defocus was predicted from the rest of the series.",
        good="0, or a few at high tilt",
    ),
    Figure(
        "defocus_sd_median_angstrom",
        "angstrom",
        "Defocus, uncertainty",
        "Standard deviation of a tilt's defocus, estimated by the fit; median over tilts.",
        good="below 200 angstrom",
    ),
    Figure(
        "handedness",
        "",
        "Defocus handedness",
        "+1: parts of the specimen higher along the beam have less defocus, -1: more. It is a property of "
        "the microscope, the same for all series; a wrong sign spoils every CTF correction in depth.",
        good="the same in every series",
        role="handedness",
    ),
    Figure(
        "handedness_gain_nats",
        "nats",
        "Handedness, evidence",
        "Difference of the log-likelihood of the whole series between the two signs of handedness.",
        good="20 or more",
        role="handedness_evidence",
    ),
    Figure(
        "handedness_gradient",
        "",
        "Handedness, gradient of defocus",
        "Measured change of defocus across the tilted images, divided by the predicted one. A value far "
        "from 1 means that the tilt axis or the tilt angles are wrong.",
        good="near 1",
    ),
    Figure(
        "handedness_votes_for",
        "tilts",
        "Handedness, tilts in favour",
        "Tilts whose own gradient of defocus has this sign.",
    ),
    Figure(
        "handedness_votes_against",
        "tilts",
        "Handedness, tilts against it",
        "Tilts whose own gradient of defocus has the opposite sign.",
        good="few, compared with the tilts in favour",
    ),
    Figure(
        "specimen_inclination_deg",
        "deg",
        "Inclination of the specimen",
        "Slope of the ice across the tilt axis, measured by defocus. Lamellae often lie at 8 to 12 degrees.",
    ),
    Figure(
        "phase_shift_median_deg",
        "deg",
        "Phase shift, median",
        "Phase shift of the phase plate, without that of amplitude contrast.",
    ),
    Figure(
        "thickness_angstrom",
        "angstrom",
        "Thickness, from the CTF",
        "Rings of scatterers at all depths cancel at the nodes of the spectrum, which gives the thickness. "
        "Shown if it is known to a fifth or to 300 angstrom.",
        role="thickness",
    ),
    Figure(
        "thickness_sd_angstrom",
        "angstrom",
        "Thickness from the CTF, uncertainty",
        "Standard deviation of the thickness, estimated by the fit.",
    ),
)
RECORDS = (
    Record(
        "ctf_curves",
        "Radially averaged spectrum of every tilt, background removed, and the fitted model.",
        shows="ctf_curves",
    ),
)


@step(
    "estimate_ctf",
    takes_by_hand=("ctf",),
    version=14,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    gpu="optional",
    bytes_needed=_bytes_needed,
    usual_time=UsualTime(8.0, 50.0),
    ahead=_prepare_ahead,
    citations=(
        "Rohou & Grigorieff, J. Struct. Biol. 192, 216 (2015), doi:10.1016/j.jsb.2015.08.008",
        "Zhang, J. Struct. Biol. 193, 1 (2016), doi:10.1016/j.jsb.2015.11.003",
        "Tegunov et al., Nat. Methods 18, 186 (2021), doi:10.1038/s41592-020-01054-7",
        "Elferich et al., eLife 13, RP97227 (2024), doi:10.7554/eLife.97227",
    ),
    methods=(
        "[Defocus and astigmatism of all tilts of a series were estimated in one model; the median defocus "
        "was {defocus_um:.2f} μm][, with rings visible to {fit_resolution_angstrom:.1f} Å]."
    ),
    figures=FIGURES,
    records=RECORDS,
    source_of=("ctf",),
)
def estimate_ctf(series: TiltSeries, params: EstimateCtfParams, context: StepContext) -> TiltSeries:
    """Defocus, astigmatism and fit resolution of every tilt, and the handedness of the series."""
    tilts = [t for t in series.tilts if not t.is_excluded and t.section is not None]
    band = _band(series, params)
    if band is None or not tilts:
        pixel = series.unweighted_stack.pixel_size_angstrom
        context.warn(
            f"{series.name}: no CTF is estimated: pixels of {pixel:g} A resolve nothing finer than "
            f"{2 * pixel:g} A, too coarse for rings fitted from {params.low_resolution_angstrom:g} A on"
        )
        return series
    gold = _gold(series, tilts, context) if params.hide_gold else None
    look = functools.cache(lambda: _first_look(series, _least_tilted(tilts), band, params, context))
    tile_angstrom = _tile_angstrom(params, look)
    spectra, n_beads = _all_spectra(series, tilts, band, tile_angstrom, gold, context)
    found = _fitted(series, tilts, spectra, params, context)
    if found is None and gold is not None and look().shows_rings:
        # An image without a bead is the same with gold hidden and not.
        bare = _all_spectra(
            series,
            tilts,
            band,
            tile_angstrom,
            None,
            context,
            known=[None if n else one for one, n in zip(spectra, n_beads, strict=True)],
        )[0]
        found = _fitted(series, tilts, bare, params, context, may_be_weak=False)
        if found is not None:
            context.warn(
                f"{series.name}: only gold shows Thon rings; the defocus is that of the gold, which may lie "
                "on a surface of the specimen, and not of its middle"
            )
    if found is None:
        context.warn(
            f"{series.name}: no Thon rings are visible between {params.low_resolution_angstrom:g} and "
            f"{1 / band.high_per_angstrom:.1f} A in any tilt; the series continues without a CTF"
        )
        context.figure("n_predicted", 0)
        return series
    return _with_direction(_with_result(series, tilts, found, params, context), found, context)


def _fitted(
    series: TiltSeries,
    tilts: list[Tilt],
    spectra: list[TileSpectra],
    params: EstimateCtfParams,
    context: StepContext,
    *,
    may_be_weak: bool = True,
) -> SeriesFit | None:
    """The model of the whole series; None if no rings are seen."""

    def rewhiten(i: int, modulation: NDArray[np.float64] | None) -> RingData:
        data = whiten(spectra[i], series.microscope, modulation, context.device)
        return replace(data, phase_shift_deg=params.phase_shift_deg)

    rings = of_each(lambda i: _tilt_rings(series, tilts[i], rewhiten(i, None)), range(len(tilts)))
    known_hand = series.handedness.applied
    asks_hand = known_hand is None or _axis_may_turn(series)
    return fit_series(
        rings,
        (params.min_defocus_angstrom, params.max_defocus_angstrom),
        None if asks_hand else int(known_hand or 0),
        rewhiten,
        fit_phase_shift=params.phase_plate,
        near_others=_positions(series, tilts, params.refit_tilts),
        unheeded=_positions(series, tilts, params.predict_tilts),
        may_be_weak=may_be_weak,
    )


def _positions(series: TiltSeries, tilts: list[Tilt], named: tuple[int, ...]) -> frozenset[int]:
    """Indices in ``tilts`` of the tilts that a user named. Raises DataUnfitError for an unknown one."""
    known = {tilt.acquisition_index for tilt in series.tilts}
    if unknown := set(named) - known:
        raise DataUnfitError(
            f"{series.name} has no tilt of acquisition index {sorted(unknown)}; expected 0 to {max(known)}",
            series=series.name,
        )
    return frozenset(i for i, tilt in enumerate(tilts) if tilt.acquisition_index in named)


def _axis_may_turn(series: TiltSeries) -> bool:
    """Whether the direction of the tilt axis is known only through the microscope's handedness."""
    posed = any(tilt.pose is not None for tilt in series.tilts)
    return series.handedness.told is not None and not series.axis_is_directed and not posed


def _with_direction(series: TiltSeries, found: SeriesFit, context: StepContext) -> TiltSeries:
    """The series with its axis turned by 180 degrees if defocus gradient and known handedness disagree.

    With the axis turned by 180 degrees, tilts change sign, and so does the gradient; the rest of the fit is
    unchanged. If the handedness is not known, a rare sign is reported to the user.
    """
    axis = series.tilt_axis_deg.applied
    if series.axis_is_directed or axis is None or not found.hand.is_clear:
        return series
    other = (axis + 360.0) % 360.0 - 180.0
    if not _axis_may_turn(series):
        if found.model.handedness < 0:
            context.warn(
                f"{series.name}: the defocus gradient has the sign -1, which is rare, and the metadata do "
                "not give "
                f"the direction of the tilt axis: if it is {other:g} degrees, the tomogram is mirrored. "
                "Compare with a structure of known hand; then set tilt_axis_deg or handedness"
            )
        return series
    if found.model.handedness == series.handedness.applied:
        return replace(series, axis_is_directed=True)
    context.warn(
        f"{series.name}: the tilt axis is turned from {axis:g} to {other:g} degrees, since the defocus "
        f"gradient has the sign {found.model.handedness:+d} and the microscope's handedness is "
        f"{series.handedness.applied or 0:+.0f}"
    )
    turned = series.tilt_axis_deg.with_measured(other, "estimate_ctf by the defocus gradient", apply=True)
    return replace(series, tilt_axis_deg=turned, axis_is_directed=True)


def _band(series: TiltSeries, params: EstimateCtfParams) -> SpectrumBand | None:
    """Frequencies to fit; None if the pixels are too coarse."""
    if params.high_resolution_angstrom >= params.low_resolution_angstrom:
        raise UserInputError("high_resolution_angstrom must be a smaller number than low_resolution_angstrom")
    # Motion correction and cameras leave little signal between 95 % of the Nyquist frequency and it.
    finest = 2 * series.unweighted_stack.pixel_size_angstrom / 0.95
    high = max(params.high_resolution_angstrom, finest)
    if high > 0.8 * params.low_resolution_angstrom:
        return None
    return SpectrumBand(1 / params.low_resolution_angstrom, 1 / high)


@dataclass(frozen=True, slots=True)
class _FirstLook:
    """Spectra of the least tilted images in the smallest tiles."""

    shows_rings: bool
    tile_angstrom: float
    """Edge that the tiles need."""


def _tile_angstrom(params: EstimateCtfParams, look: Callable[[], _FirstLook]) -> float:
    """Edge of the tiles: rings of a large defocus come from points far apart, which a tile must contain.

    The defocus is first searched in the least tilted images with the smallest tiles.
    """
    if params.tile_angstrom is not None:
        return params.tile_angstrom
    if params.max_defocus_angstrom * TILE_PER_DEFOCUS <= SMALLEST_TILE_ANGSTROM:
        return SMALLEST_TILE_ANGSTROM
    return look().tile_angstrom


def _wanted_tile_angstrom(rings: list[TiltRings], found: float | None, params: EstimateCtfParams) -> float:
    """Edge of the tiles for rings of images in the smallest ones, and their defocus if they show any."""
    wanted = (found or 0.0) * TILE_PER_DEFOCUS
    if not found or wanted <= SMALLEST_TILE_ANGSTROM:
        return SMALLEST_TILE_ANGSTROM
    # Bumps that the images share look like the narrow rings of a large defocus.
    reach = (max(params.min_defocus_angstrom, 0.8 * found), min(params.max_defocus_angstrom, 1.25 * found))
    is_clear = coarse_defocus(weighed_by_noise(rings, found), reach)[1] >= CERTAIN_GAIN
    return wanted if is_clear else SMALLEST_TILE_ANGSTROM


def _first_look(
    series: TiltSeries,
    tilts: list[Tilt],
    band: SpectrumBand,
    params: EstimateCtfParams,
    context: StepContext,
) -> _FirstLook:
    """Spectra of images in the smallest tiles, gold included."""
    stack = series.unweighted_stack

    def rings_of(tilt: Tilt) -> TiltRings:
        image = torch.as_tensor(_image_of(stack, tilt), device=context.device)
        spectra = tile_spectra(image, stack.pixel_size_angstrom, band, SMALLEST_TILE_ANGSTROM)
        data = whiten(spectra, series.microscope, device=context.device)
        return _tilt_rings(series, tilt, replace(data, phase_shift_deg=params.phase_shift_deg))

    def look() -> Arrays:
        rings = of_each(rings_of, tilts)
        found, evidence = coarse_defocus(rings, (params.min_defocus_angstrom, params.max_defocus_angstrom))
        seen = found if evidence >= CERTAIN_GAIN else None
        tile_angstrom = _wanted_tile_angstrom(rings, seen, params)
        return {"shows_rings": np.array(bool(seen)), "tile_angstrom": np.array(tile_angstrom)}

    facts = _facts_of_images(series, tilts, "first look", params.model_dump(mode="json"), context.device)
    if facts is not None:
        geometry = [[tilt.nominal_tilt_deg, tilt.pose] for tilt in tilts]
        angles = [series.tilt_offset_deg.applied, series.tilt_axis_deg.applied]
        facts = (*facts, series.microscope, geometry, angles)
    made = prepared(context, facts, look)
    return _FirstLook(bool(made["shows_rings"]), float(made["tile_angstrom"]))


def _facts_of_images(
    series: TiltSeries, tilts: list[Tilt], kind: str, *facts: object
) -> tuple[object, ...] | None:
    """Everything on which a quantity computed from several images depends; None if it is not known."""
    stack = series.unweighted_stack
    images = [image_facts(series, stack, tilt.section or 0) for tilt in tilts]
    return None if None in images else (kind, *facts, images, stack.pixel_size_angstrom)


def _image_of(stack: Stack, tilt: Tilt) -> NDArray[np.float32]:
    # A tilt without a section was excluded before.
    return np.asarray(stack.images[tilt.section or 0], np.float32)


def _least_tilted(tilts: list[Tilt]) -> list[Tilt]:
    return sorted(tilts, key=lambda t: abs(t.nominal_tilt_deg))[:N_FIRST_LOOK]


def _gold(series: TiltSeries, tilts: list[Tilt], context: StepContext) -> GoldShadows | None:
    """The appearance of gold in the series; None if there is no gold."""
    stack, least = series.unweighted_stack, _least_tilted(tilts)

    def look() -> Arrays:
        found = find_gold([_image_of(stack, tilt) for tilt in least], stack.pixel_size_angstrom)
        return {"gold": np.array([] if found is None else astuple(found))}

    made = prepared(context, _facts_of_images(series, least, "gold"), look)["gold"]
    return GoldShadows(*(float(value) for value in made)) if len(made) else None


def _all_spectra(
    series: TiltSeries,
    tilts: list[Tilt],
    band: SpectrumBand,
    tile_angstrom: float,
    gold: GoldShadows | None,
    context: StepContext,
    known: Sequence[TileSpectra | None] = (),
) -> tuple[list[TileSpectra], list[int]]:
    """Tile spectra of the tilts without gold, several images at a time, and the beads hidden in each.

    known : spectra that are known already.
    """
    stack = series.unweighted_stack
    kept = _kept_spectra(series, band, tile_angstrom, gold, context)
    found: dict[int, tuple[TileSpectra, int]] = {}

    def transform(i: int) -> None:
        section, spectra = tilts[i].section or 0, known[i] if known else None
        if spectra is not None:
            found[i] = spectra, 0
            return
        made = kept(
            section,
            lambda: _spectra_of(stack, section, band, tile_angstrom, gold, context.device),
        )
        found[i] = _spectra_from(made, band), int(made["n_beads"])

    for done, _ in enumerate(each_image(transform, len(tilts)), start=1):
        context.progress(done, len(tilts) + len(tilts) // 2)
    spectra, n_beads = zip(*(found[i] for i in range(len(tilts))), strict=True)
    context.figure("n_beads_hidden", float(np.median(n_beads)))
    return list(spectra), list(n_beads)


def _kept_spectra(
    series: TiltSeries,
    band: SpectrumBand,
    tile_angstrom: float,
    gold: GoldShadows | None,
    context: StepContext,
) -> PreparedImages:
    """Spectra that were prepared while the series grew."""
    facts = (astuple(band), tile_angstrom, None if gold is None else astuple(gold), context.device)
    return PreparedImages(context, series, series.unweighted_stack, "tile spectra", *facts)


def _spectra_of(
    stack: Stack,
    section: int,
    band: SpectrumBand,
    tile_angstrom: float,
    gold: GoldShadows | None,
    device: str,
) -> Arrays:
    """Spectra of one image as arrays, and how many beads were hidden in it."""
    image, n = np.asarray(stack.images[section], np.float32), 0
    if gold is not None:
        image, n = gold.hidden(image)
    pixels = torch.as_tensor(image, device=device)
    spectra = tile_spectra(pixels, stack.pixel_size_angstrom, band, tile_angstrom)
    return {
        "n_beads": np.array(n),
        "power": spectra.power,
        "counts": spectra.counts,
        "centres_xy_angstrom": spectra.centres_xy_angstrom,
        "tile_angstrom": np.array(spectra.tile_angstrom),
        "independence": np.array(spectra.independence),
        "noise_at_lag": spectra.noise_at_lag,
    }


def _spectra_from(made: Arrays, band: SpectrumBand) -> TileSpectra:
    return TileSpectra(
        band,
        made["power"],
        made["counts"],
        made["centres_xy_angstrom"],
        float(made["tile_angstrom"]),
        float(made["independence"]),
        made["noise_at_lag"],
    )


def _tilt_rings(series: TiltSeries, tilt: Tilt, data: RingData) -> TiltRings:
    """Rings of a tilt with its geometry: its pose if there is one, otherwise the metadata."""
    if tilt.pose is not None:
        pose = tilt.pose
        return TiltRings(
            data,
            tilt.acquisition_index,
            pose.tilt_deg,
            pose.axis_deg,
            pose.x_tilt_deg,
            pose.shift_xy_angstrom,
        )
    angle = tilt.nominal_tilt_deg + (series.tilt_offset_deg.applied or 0.0)
    return TiltRings(data, tilt.acquisition_index, angle, series.tilt_axis_deg.applied or 0.0)


def _with_result(
    series: TiltSeries, tilts: list[Tilt], found: SeriesFit, params: EstimateCtfParams, context: StepContext
) -> TiltSeries:
    """Add the fits to the tilts and the handedness to the series, and report figures and curves."""

    def profile_of(i: int) -> RingProfile:
        one, fit = found.tilts[i], found.fits[i]
        template = found.model.template(one, fit.defocus_angstrom)
        return ring_profile(at_origin(one), template, fit, found.model.slope(one))

    ctfs, profiles = [], of_each(profile_of, range(len(found.tilts)))
    for one, fit, predicted, profile in zip(found.tilts, found.fits, found.predicted, profiles, strict=True):
        data, slope = at_origin(one), found.model.slope(one)
        resolution = None if predicted else fit_resolution_angstrom(profile)
        # The fit's defocus is at the projection of the poses' origin; slopes are per angstrom from there.
        at_centre = fit.defocus_angstrom - float(slope @ np.asarray(one.shift_xy_angstrom))
        u, v, angle = principal_defoci(at_centre, fit.axial_angstrom, fit.diagonal_angstrom)
        score = round(profile.correlation(resolution), 4)
        sd = round(fit.sd_angstrom, 1)
        ctfs.append(
            Ctf(u, v, angle, data.phase_shift_deg, resolution, score, predicted, sd, refers_to="specimen")
        )
    thickness = found.thickness if _shows_nodes(found, ctfs) else None
    context.record(
        "ctf_curves",
        [
            _curve(tilt, profile, one, fit, found.model.nodes_per_angstrom(one) if thickness else [])
            for tilt, profile, one, fit in zip(tilts, profiles, found.tilts, found.fits, strict=True)
        ],
    )
    _tell_figures(ctfs, found, thickness, context)
    unseen = [tilt.acquisition_index for tilt, ctf in zip(tilts, ctfs, strict=True) if ctf.predicted]
    silent = [index for index in unseen if index not in params.predict_tilts]
    if found.is_weak:
        error = np.median([ctf.defocus_sd_angstrom or 0.0 for ctf in ctfs])
        context.warn(
            f"{series.name}: the Thon rings are too weak to be seen in single images ({len(silent)} of "
            f"{len(ctfs)}); the defocus is fitted to all images together, with an error of {error:.0f} A "
            "per tilt, and the astigmatism is not measured"
        )
    elif silent:
        context.warn(
            f"{series.name}: tilts {silent} show no Thon rings; their defocus is predicted from the other "
            "tilts"
        )
    _doubt_defoci(series, tilts, ctfs, context)
    changes = {tilt.acquisition_index: {"ctf": ctf} for tilt, ctf in zip(tilts, ctfs, strict=True)}
    handed = series.handedness
    if handed.applied is None:
        handed = _measured_hand(series, found, context)
    return with_defocus_at_origin(replace(series.with_tilts(changes), handedness=handed))


def _doubt_defoci(series: TiltSeries, tilts: list[Tilt], ctfs: list[Ctf], context: StepContext) -> None:
    """Warn of tilts whose own rings give a defocus far from the trend of the other tilts."""
    own = [(tilt, ctf) for tilt, ctf in zip(tilts, ctfs, strict=True) if not ctf.predicted]
    angles = np.array([tilt.nominal_tilt_deg for tilt, _ in own])
    off = off_the_trend(angles, np.array([ctf.defocus_angstrom for _, ctf in own]))
    doubted = [tilt.acquisition_index for (tilt, _), away in zip(own, off, strict=True) if away]
    if doubted:
        context.warn(
            f"{series.name}: the defocus of tilts {doubted} is up to {np.abs(off).max():.0f} A from the "
            "trend of the other tilts; their rings may be false. Look at their spectra, and list the wrong "
            "ones in predict_tilts"
        )


def _measured_hand(series: TiltSeries, found: SeriesFit, context: StepContext) -> Sourced:
    """Handedness with the measurement added; applied only if it was unknown and the evidence is clear."""
    if not found.hand.is_clear:
        context.warn(
            f"{series.name}: the handedness is inconclusive; {found.model.handedness:+d} is more likely, but "
            + ", and ".join(found.hand.objections)
        )
        return series.handedness
    return series.handedness.with_measured(float(found.model.handedness), "estimate_ctf", apply=True)


def _curve(
    tilt: Tilt, profile: RingProfile, rings: TiltRings, fit: DefocusFit, nodes: list[float]
) -> dict[str, float | list[float]]:
    """Profile of one tilt for the report, at most 200 samples; the background in decades about its mean."""
    stride = max(1, -(-len(profile.rings) // 200))
    frequency = profile.frequency_per_angstrom[::stride]
    background = np.log10(np.maximum(rings.data.background, 1e-30))
    return {
        "acquisition_index": tilt.acquisition_index,
        "defocus_sd_angstrom": round(fit.sd_angstrom, 1),
        "strength_in_sds": round(math.sqrt(2 * fit.gain), 1),
        "frequency_per_angstrom": np.round(frequency, 5).tolist(),
        "spectrum": np.round(profile.spectrum[::stride], 4).tolist(),
        "model": np.round(profile.model[::stride], 4).tolist(),
        "background": np.round(
            np.interp(frequency, rings.data.band.frequency, background - background.mean()), 3
        ).tolist(),
        "nodes_per_angstrom": np.round(nodes, 5).tolist(),
    }


def _shows_nodes(found: SeriesFit, ctfs: list[Ctf]) -> bool:
    """Whether the thickness is known: with a small error, and from nodes within the visible rings."""
    known = found.thickness
    if known is None or known.sd_angstrom > max(
        THICKNESS_KNOWN_TO_ANGSTROM, THICKNESS_KNOWN_TO * known.angstrom
    ):
        return False
    seen = 0
    for one, ctf in zip(found.tilts, ctfs, strict=True):
        nodes = found.model.nodes_per_angstrom(one)
        resolution = ctf.fit_resolution_angstrom
        seen += bool(nodes and resolution and nodes[0] * resolution <= NODE_BEYOND_RINGS)
    return seen >= MIN_NODES


def _tell_figures(
    ctfs: list[Ctf], found: SeriesFit, thickness: Thickness | None, context: StepContext
) -> None:
    resolutions = [c.fit_resolution_angstrom for c in ctfs if c.fit_resolution_angstrom is not None]
    context.figure("defocus_median_angstrom", float(np.median([c.defocus_angstrom for c in ctfs])))
    if resolutions:
        context.figure("fit_resolution_median_angstrom", float(np.median(resolutions)))
    else:
        context.not_measurable("fit_resolution_median_angstrom", "no tilt shows Thon rings")
    context.figure("n_predicted", sum(c.predicted for c in ctfs))
    context.figure("defocus_sd_median_angstrom", float(np.median([f.sd_angstrom for f in found.fits])))
    context.figure("handedness", found.model.handedness)
    context.figure("handedness_gain_nats", found.hand.series_gain)
    context.figure("handedness_gradient", found.hand.gradient)
    context.figure("handedness_votes_for", found.hand.votes_for)
    context.figure("handedness_votes_against", found.hand.votes_against)
    context.figure("specimen_inclination_deg", found.model.inclination_deg[0])
    if any(c.phase_shift_deg for c in ctfs):
        context.figure("phase_shift_median_deg", float(np.median([c.phase_shift_deg for c in ctfs])))
    if thickness is not None:
        context.figure("thickness_angstrom", thickness.angstrom)
        context.figure("thickness_sd_angstrom", thickness.sd_angstrom)
