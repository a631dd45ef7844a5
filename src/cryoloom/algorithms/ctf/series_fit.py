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

from cryoloom.algorithms.ctf.defocus_choice import ChosenDefoci, choose_defoci
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
from cryoloom.algorithms.ctf.weak_series import STRENGTH_SPREAD, find_weak_rings
from cryoloom.algorithms.images.single_thread_pool import of_each
from cryoloom.geometry.depth import opposite_hand

__all__ = ["SeriesFit", "coarse_defocus", "fit_series"]

#: Chosen: modulation of the rings assumed in the search, before it is measured. Rings below half of it lower
#: the likelihood, so weaker values are tried if no rings are found with the first.
FIRST_STRENGTHS = (0.1, 0.05, 0.025)
#: Chosen: largest distance of a tilt's defocus from that of its series.
FARTHEST_ANGSTROM = 10000.0
FEW_SEEN = 1 / 3
"""Part of the tilts whose own rings are seen, below which the series is fitted as a weak one."""


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
    """Log-likelihood over "no rings" and prior of all tilts, in nats."""
    is_weak: bool = False
    """Whether few tilts show rings by themselves (`weak_series`)."""


def coarse_defocus(tilts: Sequence[TiltRings], search_angstrom: tuple[float, float]) -> tuple[float, float]:
    """Defocus in angstrom about which most of the given tilts show rings, and the evidence for it in nats."""
    grid = np.arange(search_angstrom[0], search_angstrom[1] + GRID_STEP_ANGSTROM, GRID_STEP_ANGSTROM)
    sums = _search(tilts, [SeriesModel(1, _first_spectrum(tilts[0].data, FIRST_STRENGTHS[0]))], grid)[0]
    found = [consensus(sums.gains(strength / FIRST_STRENGTHS[0]), grid) for strength in FIRST_STRENGTHS]
    return max(found, key=lambda one: one[1])


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
    may_be_weak: bool = True,
) -> SeriesFit | None:
    """Fit all tilts together; None if the series as a whole shows no rings.

    near_others : positions in ``tilts`` of tilts that are fitted where the others expect them, whatever
    else their rings may say. unheeded : those whose rings do not count; they get what the others predict.

    may_be_weak : where few tilts show rings of the usual fall-off, all are looked at together
    (`weak_series`); otherwise the amplitude of the rings is fitted first.

    handedness : +1 or -1 if known; otherwise the likelier one. rewhiten : (position in ``tilts``,
    (tile, sector, ring) modulation) -> data with the background fitted beside the rings. fit_phase_shift :
    find each tilt's phase shift, beginning anywhere; otherwise that of the data is kept.
    """
    tilts = list(tilts)
    grid = np.arange(search_angstrom[0], search_angstrom[1] + GRID_STEP_ANGSTROM, GRID_STEP_ANGSTROM)
    hands = [handedness] if handedness else [1, -1]
    first = SeriesModel(hands[0], _first_spectrum(tilts[0].data, FIRST_STRENGTHS[0]))
    sums = [] if fit_phase_shift else _search(tilts, [replace(first, handedness=h) for h in hands], grid)
    starts = []
    for strength in FIRST_STRENGTHS:
        times, shown, searched = strength / FIRST_STRENGTHS[0], tilts, sums
        start = replace(first, spectrum=first.spectrum * times)
        if fit_phase_shift:
            shown = with_coarse_phase_shift(tilts, partial(_evidence_of, start, grid))
            searched = _search(shown, [replace(first, handedness=hand) for hand in hands], grid)
        evidence = {h: consensus(one.gains(times), grid) for h, one in zip(hands, searched, strict=True)}
        starts.append((max(nats for _, nats in evidence.values()), start, shown, searched, times, evidence))
    most, start, tilts, sums, times, evidence = max(starts, key=lambda one: one[0])
    if most < CERTAIN_GAIN:
        return None
    likelier = max(evidence, key=lambda h: evidence[h][1])

    def fitted(hand: int) -> SeriesFit | None:
        centre, near = evidence[hand][0], np.abs(grid - evidence[hand][0]) <= FARTHEST_ANGSTROM
        of_hand = sums[hands.index(hand)]
        return _fit_with(
            tilts,
            replace(start, handedness=hand),
            SearchSums(times * of_hand.matched[:, near], times**2 * of_hand.energy[:, near]),
            grid[near],
            centre,
            rewhiten,
            fit_phase_shift,
            n_rounds,
            near_others,
            unheeded,
            partial(_fit_weak, tilts, hands, grid, near_others, unheeded)
            if may_be_weak and not fit_phase_shift
            else None,
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
    sums: SearchSums,
    grid: NDArray[np.float64],
    centre: float,
    rewhiten: Callable[[int, NDArray[np.float64]], RingData] | None,
    fit_phase_shift: bool,
    n_rounds: int,
    near_others: frozenset[int],
    unheeded: frozenset[int],
    weak: Callable[[], SeriesFit | None] | None,
) -> SeriesFit | None:
    """Fit with the handedness of ``model``, from the sums of the search."""
    model = replace(
        model,
        astigmatism_angstrom=coarse_astigmatism(
            tilts, model, _chosen(tilts, sums, grid, centre).defocus_angstrom.tolist()
        ),
    )
    noise = np.ones(len(tilts))
    for is_last in [False] * (n_rounds + fit_phase_shift) + [True]:
        choice = _chosen(tilts, sums, grid, centre, noise)
        local, fits = _refine_all(
            tilts, model, choice.defocus_angstrom, choice.prior_angstrom, choice.prior_sd_angstrom
        )
        noise = np.array([fit.noise for fit in fits])
        fits = [f if ok else replace(f, gain=0.0) for f, ok in zip(fits, choice.is_decided, strict=True)]
        if weak is not None and sum(is_seen(fit) for fit in fits) < FEW_SEEN * len(tilts):
            # The few whose own rings are seen, of many weak ones, are those that noise made stronger: they
            # know neither amplitude nor astigmatism of the others.
            return weak()
        if not is_last:
            model = shared_model(tilts, local, model, fits)
        tilts, model, fits = _refine_jointly(tilts, model, fits, choice, fit_phase_shift)
        if not is_last:
            if rewhiten is not None:
                tilts = _whitened_again(rewhiten, tilts, model, fits)
            sums = _search(tilts, [model], grid)[0]
    tilts = [
        replace(tilt, data=replace(tilt.data, phase_shift_deg=tilt.data.phase_shift_deg % 180.0))
        for tilt in tilts
    ]
    for i in sorted(near_others):
        mean, sd = choice.prior_angstrom[i : i + 1], choice.prior_sd_angstrom[i : i + 1]
        fits[i] = _refine_all([tilts[i]], model, mean, mean, sd)[1][0]
    seen = [is_seen(fit) and i not in unheeded for i, fit in enumerate(fits)]
    if max(sum(fit.gain for fit, ok in zip(fits, seen, strict=True) if ok), choice.evidence) < CERTAIN_GAIN:
        return None
    prior, prior_sd = choice.prior_angstrom, choice.prior_sd_angstrom
    predicted = [
        (prior[i], prior_sd[i])
        if i in unheeded | near_others
        else (choice.mean_angstrom[i], choice.sd_angstrom[i])
        for i in range(len(tilts))
    ]
    final = [
        fit if ok else replace(fit, defocus_angstrom=float(m), sd_angstrom=float(sd))
        for fit, ok, (m, sd) in zip(fits, seen, predicted, strict=True)
    ]
    posterior = (sums.gains() + log_prior(grid, prior, prior_sd)).max(axis=1).sum()
    return SeriesFit(
        model,
        tilts,
        final,
        [not ok for ok in seen],
        prior,
        choice.jitter_angstrom,
        hand_evidence(
            tilts, model, fits, posterior - _posterior_of_other(tilts, model, grid, prior, prior_sd)
        ),
        thickness_of(tilts, model, fits),
        float(posterior),
    )


def _fit_weak(
    tilts: list[TiltRings],
    hands: Sequence[int],
    grid: NDArray[np.float64],
    near_others: frozenset[int],
    unheeded: frozenset[int],
) -> SeriesFit | None:
    """Fit of a series whose rings few images show by themselves; None if all together show none."""
    found = find_weak_rings(tilts, hands, grid, _search)
    if found is None:
        return None
    choice, model = found.choice, found.model
    starts, prior, prior_sd = choice.defocus_angstrom, choice.prior_angstrom, choice.prior_sd_angstrom
    _, fits = _refine_all(found.tilts, model, starts, prior, prior_sd)
    decided = choice.is_decided | np.isin(np.arange(len(tilts)), list(near_others))
    fits = [fit if ok else replace(fit, gain=0.0) for fit, ok in zip(fits, decided, strict=True)]
    seen = [is_seen(fit) and i not in unheeded for i, fit in enumerate(fits)]
    final = []
    for i, fit in enumerate(fits):
        mean, sd = choice.mean_angstrom[i], choice.sd_angstrom[i]
        if i in unheeded | near_others:
            mean, sd = prior[i], prior_sd[i]
        final.append(replace(fit, defocus_angstrom=float(mean), sd_angstrom=float(sd)))
    return SeriesFit(
        model,
        found.tilts,
        final,
        [not ok for ok in seen],
        prior,
        choice.jitter_angstrom,
        hand_evidence(found.tilts, model, fits, found.gain_of_hand),
        None,
        choice.evidence,
        is_weak=True,
    )


def _chosen(
    tilts: Sequence[TiltRings],
    sums: SearchSums,
    grid: NDArray[np.float64],
    centre: float,
    noise: NDArray[np.float64] | None = None,
) -> ChosenDefoci:
    """Defoci by rings whose strength varies, over the noise of each tilt, ``(tilt,)``."""
    of_tilt = 1.0 if noise is None else noise[:, None]
    return choose_defoci(tilts, sums.marginal_gains(STRENGTH_SPREAD, of_tilt), grid, centre)


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
    """Gain of every tilt at every defocus of the specimen's origin, ``(tilt, grid)``."""
    return _search(tilts, [model], grid)[0].gains()


def _search(
    tilts: Sequence[TiltRings], models: Sequence[SeriesModel], grid: NDArray[np.float64]
) -> list[SearchSums]:
    """For each model what the gains of all tilts consist of, ``(tilt, grid)``.

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
    starts: NDArray[np.float64],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
) -> tuple[list[LocalRings], list[DefocusFit]]:
    """Fit of each tilt from its start; the heavy-tailed prior is a Gaussian of equal slope there."""
    shared, spread = model.astigmatism_angstrom, model.astigmatism_sd_angstrom
    weights = student_weight((starts - prior) / prior_sd)

    def of_tilt(i: int) -> tuple[LocalRings, DefocusFit]:
        tilt, start = tilts[i], float(starts[i])
        template, slope = model.template(tilt, start), model.slope(tilt)
        table = local_rings(at_origin(tilt), template, start, slope)
        prior_of_fit = (float(prior_sd[i]) / math.sqrt(weights[i]), spread, spread)
        fit = refine_defocus(table, (start, *shared), slope, (float(prior[i]), *shared), prior_of_fit)
        gain, noise = own_gain(tilt, model, fit)
        return table, replace(fit, gain=gain, noise=noise)

    found = of_each(of_tilt, range(len(tilts)))
    return [table for table, _ in found], [fit for _, fit in found]


def _refine_jointly(
    tilts: list[TiltRings],
    model: SeriesModel,
    fits: list[DefocusFit],
    choice: ChosenDefoci,
    fit_phase_shift: bool,
) -> tuple[list[TiltRings], SeriesModel, list[DefocusFit]]:
    """Tilts, model and fits with `refine_jointly`'s result; tilts without rings are not used."""
    seen = [i for i, fit in enumerate(fits) if is_seen(fit)]
    if not seen:
        return tilts, model, fits
    some, found_fits = [tilts[i] for i in seen], [fits[i] for i in seen]
    deviation = np.array([fit.defocus_angstrom for fit in found_fits]) - choice.prior_angstrom[seen]
    weight = student_weight(deviation / choice.prior_sd_angstrom[seen])
    jitter = choice.jitter_angstrom / np.sqrt(weight)
    of_defocus = defocus_covariance(some, jitter, choice.smooth_part)
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
