"""Defocus of a whole tilt series in one model.

Common properties are estimated from all tilts: ring amplitude (including ice thickness), astigmatism,
inclination of the specimen and the microscope's handedness. The defocus of each tilt is estimated from its
own rings under a prior from the other tilts: a smooth curve in time and in tilt with jitter, by
Gaussian-process regression. The prior has heavy tails: a tilt with clear rings may deviate, one without rings
gets the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_fit import (
    DefocusFit,
    LocalRings,
    RingData,
    SearchSums,
    local_rings,
    refine_defocus,
    ring_phase,
    search_sums,
    tile_offsets,
)
from cryoloom.algorithms.ctf.defocus_prior import (
    consensus,
    defocus_covariance,
    log_prior,
    pick,
    predict_each,
    student_weight,
)
from cryoloom.algorithms.ctf.handedness import HandEvidence, hand_evidence
from cryoloom.algorithms.ctf.joint_fit import refine_jointly
from cryoloom.algorithms.ctf.phase_shift import (
    MOST_JITTER_DEG,
    likeliest_jitter_deg,
    phase_shift_covariance,
    with_coarse_phase_shift,
    with_phase_shifts,
)
from cryoloom.algorithms.ctf.series_model import (
    CERTAIN_GAIN,
    GRID_STEP_ANGSTROM,
    SeriesModel,
    TiltRings,
    at_origin,
    is_seen,
)
from cryoloom.algorithms.ctf.shared_properties import (
    Thickness,
    coarse_astigmatism,
    shared_model,
    thickness_of,
)
from cryoloom.algorithms.ctf.tilt_rings import own_gain
from cryoloom.algorithms.images.single_thread_pool import of_each
from cryoloom.geometry.depth import opposite_hand

__all__ = ["SeriesFit", "coarse_defocus", "fit_series"]

# No tilt is assumed to lie farther from its series.
FARTHEST_ANGSTROM = 10000.0
# Modulation of the rings that is looked for first, before it is measured. Rings of less than half of it would
# count against themselves, so weaker ones are looked for where none of the first are found.
FIRST_STRENGTHS = (0.1, 0.05, 0.025)


@dataclass(frozen=True, slots=True)
class SeriesFit:
    """Result of `fit_series`; lists are in the order of the tilts given."""

    model: SeriesModel
    tilts: list[TiltRings]
    """As given, with the background and the phase shift found."""
    fits: list[DefocusFit]
    predicted: list[bool]
    """True if the tilt's own rings are not visible and the defocus is the prior's."""
    prior_angstrom: NDArray[np.float64]
    jitter_angstrom: float
    hand: HandEvidence
    thickness: Thickness | None
    posterior: float
    """Log-likelihood over "no rings" and prior of all exposures, in nats."""


def coarse_defocus(tilts: Sequence[TiltRings], search_angstrom: tuple[float, float]) -> float | None:
    """Defocus about which most of the given tilts show rings, in angstrom; None if they show none."""
    grid = np.arange(search_angstrom[0], search_angstrom[1] + GRID_STEP_ANGSTROM, GRID_STEP_ANGSTROM)
    sums = _search(tilts, [SeriesModel(1, _first_spectrum(tilts[0].data, FIRST_STRENGTHS[0]))], grid)[0]
    for strength in FIRST_STRENGTHS:
        centre, evidence = consensus(sums.gains(strength / FIRST_STRENGTHS[0]), grid)
        if evidence >= CERTAIN_GAIN:
            return centre
    return None


def fit_series(
    tilts: Sequence[TiltRings],
    search_angstrom: tuple[float, float],
    handedness: int | None = None,
    rewhiten: Callable[[int, NDArray[np.float64]], RingData] | None = None,
    *,
    fit_phase_shift: bool = False,
    n_rounds: int = 2,
    near_others: frozenset[int] = frozenset(),
    unheeded: frozenset[int] = frozenset(),
) -> SeriesFit | None:
    """Fit all tilts together; None if the series as a whole shows no rings.

    near_others : positions in ``tilts`` of exposures that are fitted where the others expect them, whatever
    else their rings may say. unheeded : those whose rings do not count; they get what the others predict.

    handedness : +1 or -1 if known; otherwise the likelier one. rewhiten : (position in ``tilts``,
    (tile, sector, ring) modulation) -> data with the background fitted beside the rings. fit_phase_shift :
    find each exposure's phase shift, beginning anywhere; otherwise that of the data is kept.
    """
    tilts = list(tilts)
    grid = np.arange(search_angstrom[0], search_angstrom[1] + GRID_STEP_ANGSTROM, GRID_STEP_ANGSTROM)
    hands = [handedness] if handedness else [1, -1]
    sums: list[SearchSums] = []
    for strength in FIRST_STRENGTHS:
        start = SeriesModel(hands[0], _first_spectrum(tilts[0].data, strength))
        times = strength / FIRST_STRENGTHS[0]
        if fit_phase_shift:
            tilts = with_coarse_phase_shift(tilts, partial(_evidence_of, start, grid))
        if fit_phase_shift or not sums:
            strongest = replace(start, spectrum=start.spectrum / times)
            sums = _search(tilts, [replace(strongest, handedness=hand) for hand in hands], grid)
        gains = {hand: one.gains(times) for hand, one in zip(hands, sums, strict=True)}
        evidence = {hand: consensus(curves, grid) for hand, curves in gains.items()}
        likelier = max(evidence, key=lambda h: evidence[h][1])
        if evidence[likelier][1] >= CERTAIN_GAIN:
            break
    else:
        return None

    def fitted(hand: int) -> SeriesFit | None:
        centre, near = evidence[hand][0], np.abs(grid - evidence[hand][0]) <= FARTHEST_ANGSTROM
        return _fit_with(
            tilts,
            replace(start, handedness=hand),
            gains[hand][:, near],
            grid[near],
            centre,
            rewhiten,
            fit_phase_shift,
            n_rounds,
            near_others,
            unheeded,
        )

    found = fitted(likelier)
    if found is not None and not handedness and found.hand.series_gain < 0:
        # Common properties were estimated with a sign that they then contradict: estimate them with
        # the other one too.
        other = fitted(-likelier)
        if other is not None and other.posterior > found.posterior:
            return other
    return found


def _fit_with(
    tilts: list[TiltRings],
    model: SeriesModel,
    curves: NDArray[np.float64],
    grid: NDArray[np.float64],
    centre: float,
    rewhiten: Callable[[int, NDArray[np.float64]], RingData] | None,
    fit_phase_shift: bool,
    n_rounds: int,
    near_others: frozenset[int],
    unheeded: frozenset[int],
) -> SeriesFit | None:
    """Fit with the handedness of ``model``, from the `_grid_gains` of the search."""
    prior, prior_sd, jitter = np.full(len(tilts), centre), np.full(len(tilts), 2500.0), 1000.0
    model = replace(
        model, astigmatism_angstrom=coarse_astigmatism(tilts, model, pick(curves, grid, prior, prior_sd))
    )
    for _ in range(n_rounds + fit_phase_shift):
        local, fits = _refine_all(tilts, model, pick(curves, grid, prior, prior_sd), prior, prior_sd)
        model = shared_model(tilts, local, model, fits)
        tilts, model, fits = _refine_jointly(tilts, model, fits, prior, prior_sd, jitter, fit_phase_shift)
        prior, prior_sd, jitter = predict_each(tilts, fits)
        if rewhiten is not None:
            tilts = _whitened_again(rewhiten, tilts, model, fits)
        curves = _grid_gains(tilts, model, grid)
    _, fits = _refine_all(tilts, model, pick(curves, grid, prior, prior_sd), prior, prior_sd)
    tilts, model, fits = _refine_jointly(tilts, model, fits, prior, prior_sd, jitter, fit_phase_shift)
    tilts = [
        replace(tilt, data=replace(tilt.data, phase_shift_deg=tilt.data.phase_shift_deg % 180.0))
        for tilt in tilts
    ]
    for i in sorted(near_others):
        mean, sd = prior[i : i + 1], prior_sd[i : i + 1]
        fits[i] = _refine_all([tilts[i]], model, list(mean), mean, sd)[1][0]
    seen = [is_seen(fit) and i not in unheeded for i, fit in enumerate(fits)]
    if sum(fit.gain for fit, ok in zip(fits, seen, strict=True) if ok) < CERTAIN_GAIN:
        return None
    final = [
        fit if ok else replace(fit, defocus_angstrom=float(m), sd_angstrom=float(sd))
        for fit, ok, m, sd in zip(fits, seen, prior, prior_sd, strict=True)
    ]
    posterior = (curves + log_prior(grid, prior, prior_sd)).max(axis=1).sum()
    return SeriesFit(
        model,
        tilts,
        final,
        [not ok for ok in seen],
        prior,
        jitter,
        hand_evidence(
            tilts, model, fits, posterior - _posterior_of_other(tilts, model, grid, prior, prior_sd)
        ),
        thickness_of(tilts, model, fits),
        float(posterior),
    )


def _whitened_again(
    rewhiten: Callable[[int, NDArray[np.float64]], RingData],
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
) -> list[TiltRings]:
    def again(i: int) -> TiltRings:
        data = rewhiten(i, _expected_modulation(tilts[i], model, fits[i]))
        return replace(tilts[i], data=replace(data, phase_shift_deg=tilts[i].data.phase_shift_deg))

    return of_each(again, range(len(tilts)))


def _posterior_of_other(
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    grid: NDArray[np.float64],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
) -> float:
    """Posterior with the other handedness under the same prior, in nats."""
    other = _grid_gains(tilts, replace(model, handedness=opposite_hand(model.handedness)), grid)
    return float((other + log_prior(grid, prior, prior_sd)).max(axis=1).sum())


def _first_spectrum(data: RingData, strength: float) -> NDArray[np.float64]:
    """Start value of the ring amplitude ``(ring,)``, falling to 1/e of ``strength`` at 8 angstrom."""
    return np.asarray(strength * np.exp(-64.0 * data.band.squared_frequency))


def _evidence_of(model: SeriesModel, grid: NDArray[np.float64], tilts: Sequence[TiltRings]) -> float:
    """Log evidence in nats that these tilts show the rings of a model about a common defocus."""
    return consensus(_grid_gains(tilts, model, grid), grid)[1]


def _grid_gains(
    tilts: Sequence[TiltRings], model: SeriesModel, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gain of every exposure at every defocus of the specimen's origin, ``(tilt, grid)``."""
    return _search(tilts, [model], grid)[0].gains()


def _search(
    tilts: Sequence[TiltRings], models: Sequence[SeriesModel], grid: NDArray[np.float64]
) -> list[SearchSums]:
    """For each model what the gains of all exposures consist of, ``(tilt, grid)``.

    Models differ in nothing but the handedness: the steepness, and with it the template, is the same.
    """

    def of_tilt(tilt: TiltRings) -> list[SearchSums]:
        data, slopes = at_origin(tilt), [model.slope(tilt) for model in models]
        reach = max(float(np.abs(data.centres_xy_angstrom @ slope).max()) for slope in slopes) + 3000.0
        margin = math.ceil(reach / GRID_STEP_ANGSTROM)
        wide = grid[0] + GRID_STEP_ANGSTROM * np.arange(-margin, len(grid) + margin)
        found = search_sums(
            data,
            models[0].template(tilt, wide),
            torch.as_tensor(wide, dtype=torch.float32, device=data.residual.device),
            GRID_STEP_ANGSTROM,
            [
                tile_offsets(data, slope, *model.astigmatism_angstrom)
                for model, slope in zip(models, slopes, strict=True)
            ],
        )
        inner = slice(margin, margin + len(grid))
        return [SearchSums(one.matched[inner], one.energy[inner]) for one in found]

    by_tilt = of_each(of_tilt, tilts)
    return [
        SearchSums(
            np.array([sums[i].matched for sums in by_tilt]), np.array([sums[i].energy for sums in by_tilt])
        )
        for i in range(len(models))
    ]


def _refine_all(
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    starts: Sequence[float],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
) -> tuple[list[LocalRings], list[DefocusFit]]:
    """Fit of each tilt from its start; the heavy-tailed prior is a Gaussian of equal slope there."""
    shared, spread = model.astigmatism_angstrom, model.astigmatism_sd_angstrom
    weights = student_weight((np.array(starts) - prior) / prior_sd)

    def of_tilt(i: int) -> tuple[LocalRings, DefocusFit]:
        tilt, start = tilts[i], starts[i]
        template, slope = model.template(tilt, start), model.slope(tilt)
        table = local_rings(at_origin(tilt), template, start, slope)
        prior_of_fit = (float(prior_sd[i]) / math.sqrt(weights[i]), spread, spread)
        fit = refine_defocus(table, (start, *shared), slope, (float(prior[i]), *shared), prior_of_fit)
        return table, replace(fit, gain=own_gain(tilt, model, fit))

    found = of_each(of_tilt, range(len(tilts)))
    return [table for table, _ in found], [fit for _, fit in found]


def _refine_jointly(
    tilts: list[TiltRings],
    model: SeriesModel,
    fits: list[DefocusFit],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
    jitter: float,
    fit_phase_shift: bool,
) -> tuple[list[TiltRings], SeriesModel, list[DefocusFit]]:
    """Tilts, model and fits with `refine_jointly`'s result; tilts without rings are not used."""
    seen = [i for i, fit in enumerate(fits) if is_seen(fit)]
    if not seen:
        return tilts, model, fits
    some, found_fits = [tilts[i] for i in seen], [fits[i] for i in seen]
    deviation = np.array([fit.defocus_angstrom for fit in found_fits]) - prior[seen]
    of_defocus = defocus_covariance(some, jitter / np.sqrt(student_weight(deviation / prior_sd[seen])))
    if fit_phase_shift:
        loose = refine_jointly(some, model, found_fits, of_defocus, phase_shift_covariance(some))
        jitter_deg = likeliest_jitter_deg(
            some, loose.phase_shift_deg, loose.phase_covariance, MOST_JITTER_DEG
        )
        of_phase = phase_shift_covariance(some, jitter_deg)
        found = refine_jointly(some, model, found_fits, of_defocus, of_phase)
        sd_deg = np.sqrt(np.maximum(found.phase_covariance.diagonal(), 0.0))
        tilts = with_phase_shifts(tilts, seen, found.phase_shift_deg, sd_deg, jitter_deg)
    else:
        found = refine_jointly(some, model, found_fits, of_defocus)
    moved = np.subtract(found.model.astigmatism_angstrom, model.astigmatism_angstrom)
    refined = [
        replace(
            fit,
            axial_angstrom=fit.axial_angstrom + float(moved[0]),
            diagonal_angstrom=fit.diagonal_angstrom + float(moved[1]),
        )
        for fit in fits
    ]
    for j, i in enumerate(seen):
        refined[i] = replace(
            refined[i],
            defocus_angstrom=float(found.defocus_angstrom[j]),
            sd_angstrom=float(found.defocus_sd_angstrom[j]),
            data_sd_angstrom=float(found.data_sd_angstrom[j]),
        )
    return tilts, found.model, refined


def _expected_modulation(tilt: TiltRings, model: SeriesModel, fit: DefocusFit) -> NDArray[np.float64]:
    """Expected modulation of tiles and sectors, ``(tile, sector, ring)``; zero without visible rings."""
    data = at_origin(tilt)
    if not is_seen(fit):
        return np.zeros(data.residual.shape)
    template = model.template(tilt, fit.defocus_angstrom)
    offsets = tile_offsets(data, model.slope(tilt), fit.axial_angstrom, fit.diagonal_angstrom)
    phase = ring_phase(data, fit.defocus_angstrom + offsets)
    return np.asarray((-template.modulation * torch.cos(phase)).double().cpu().numpy())
