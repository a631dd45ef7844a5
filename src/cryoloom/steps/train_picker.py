"""Train a network on picks, and pick with it in all tomograms.

The three-dimensional U-Net of `denoise` learns to predict a heat map with a Gaussian at every pick, on binned
tomograms. A quarter of every tomogram with picks is not used for training: it is used to choose the threshold
and to measure recall and precision. The picks must be complete in their tomograms, because everything that is
not picked counts as background. Orientations are not predicted; `initial_model` or `refine` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.denoising.network_training import (
    Training,
    TrainingSettings,
    weights_of,
)
from cryoloom.algorithms.denoising.unet import UNet3d, reach_px
from cryoloom.algorithms.picking.heat_maps import (
    LabelledVolume,
    best_threshold,
    boxes_of,
    heat_loss,
    heat_map,
    peaks_of,
    predicted_heat,
)
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import Gathered, StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.network_weights import write_network
from cryoloom.geometry.frames import index_from_position, position_from_index
from cryoloom.model import ParticleRows, Particles, Tomogram
from cryoloom.procedures.trained_network import starting_network

__all__ = ["TrainPickerParams", "train_picker"]

Array = NDArray[np.float64]

_VOXELS_IN_DIAMETER, _SD_DIAMETERS, _APART_DIAMETERS, _REACH_DIAMETERS = 8.0, 0.15, 0.6, 0.35
"""Chosen: a particle has eight voxels across; width of its peak, distance of two peaks, and distance within
which a peak counts as a pick."""
_KEPT_OUT, _LEAST_PICKS, _LEAST_HEIGHT = 0.25, 8, 0.05
"""Chosen: part of the picks kept out of training; fewest picks; lowest peak that is looked at."""
_TILE, _VALIDATION_BATCHES = 64, 4
"""Chosen: voxels predicted at once, and batches of a validation."""
_MAD_TO_SD, _CLIP_SD = 1.4826, 5.0
"""Deviation of normal noise over its median absolute deviation; gold and ice crystals are cut there,
chosen."""


class TrainPickerParams(StepParams):
    """Parameters of the network and its training."""

    diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the particle. Unset: the value set when picking."
    )
    voxel_size_angstrom: float | None = Field(
        None, gt=0, description="Voxel size of the network's input. Unset: an eighth of the diameter."
    )
    weights: Path | None = Field(
        None, description="Trained network (.safetensors) to start from; with epochs=0 it is only applied."
    )
    epochs: int = Field(20, ge=0, le=1000, description="Largest number of epochs.")
    steps_per_epoch: int = Field(25, ge=1, description="Batches in an epoch.")
    batch: int = Field(6, ge=1, description="Boxes in a batch.")
    box_px: int = Field(32, ge=16, le=128, multiple_of=4, description="Side of a box in binned voxels.")
    filters: int = Field(8, ge=2, le=64, description="Channels of the network's first layer.")
    learning_rate: float = Field(3e-3, gt=0, lt=1, description="Learning rate of the first epoch.")
    least_score: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Smallest height of the heat map at a pick. Unset: measured on the volumes left "
        "out of the training.",
    )
    species: str = Field("particle", description="Name of the picked particle.")


def _bytes_needed(items: tuple[Particles, ...], params: TrainPickerParams) -> int:
    """Features of a batch with their gradients, and the binned volumes with targets and heat."""
    batch = params.batch * params.box_px**3 * 4 * 14 * params.filters * 2
    tile = (_TILE + 2 * reach_px(2)) ** 3 * 4 * 8 * params.filters
    volumes = sum(4 * 4 * int(np.prod(one.volume.shape)) for item in items for one in item.tomograms)
    return (500 << 20) + max(batch, tile) + volumes


@step(
    "train_picker",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    gathers=True,
    also_needs={"tomograms_from": Gathered(Tomogram)},
    bytes_needed=_bytes_needed,
    gpu="optional",
    outside=lambda name, params: file_digests([params.weights] if params.weights else []),
    citations=(
        "Moebel, E. et al. (2021) Deep learning improves macromolecule identification in 3D cellular "
        "cryo-electron tomograms. Nat. Methods 18, 1386-1394, doi:10.1038/s41592-021-01275-4",
    ),
    methods="Particles were picked by a U-Net trained on picks ({n_particles:.0f} particles).",
    figures=(
        Figure(
            "n_particles", "particles", "Particles", "Picks in all tomograms.",
            column=Column("Picks", digits=0),
        ),
        Figure("n_trained", "particles", "Picks trained on", "Given picks in the training volumes."),
        Figure(
            "recall_percent", "percent", "Recall",
            "Part of the given picks that are found in the volumes left out of the training.",
            good="above 80",
        ),
        Figure(
            "precision_percent", "percent", "Precision",
            "Part of the network's picks that were given, in the volumes left out of the training.",
            good="above 80",
        ),
        Figure("threshold", "", "Threshold", "Height of the heat map above which a maximum is a pick."),
    ),
    records=(Record("training", "Losses of the network in every epoch."),),
)  # fmt: skip
def train_picker(
    items: tuple[Particles, ...],
    params: TrainPickerParams,
    context: StepContext,
    *,
    tomograms_from: tuple[Tomogram, ...],
) -> tuple[Particles, ...]:
    """Train a network on the picks of some tomograms and pick in all of them."""
    known = (item.diameter_angstrom for item in items if item.diameter_angstrom)
    diameter = params.diameter_angstrom or next(known, None)
    if diameter is None:
        raise UserInputError("the particles' diameter is not known; set diameter_angstrom of train_picker")
    picks = _picks(items, tomograms_from)
    n_picks = sum(len(one) for one in picks.values())
    if n_picks < _LEAST_PICKS and params.epochs:
        raise DataUnfitError(
            f"{n_picks} picks are too few to train a network; expected at least {_LEAST_PICKS}; 100 or more "
            "are recommended"
        )
    labelled = [
        _labelled(one, picks[one.name], diameter, params) for one in tomograms_from if len(picks[one.name])
    ]
    network = starting_network(params.weights, params.filters, 2).to(context.device)
    _train(network, labelled, params, context)
    facts = {
        "filters": str(network.filters),
        "depth": str(network.depth),
        "diameter_angstrom": f"{diameter:g}",
    }
    write_network(context.new_file("network.safetensors"), weights_of(network), facts)
    threshold = _judge(network, labelled, params, context)
    made = [_picked(network, one, diameter, threshold, params, context) for one in tomograms_from]
    context.figure("n_particles", sum(one.n_particles for one in made))
    return tuple(made)


def _picks(items: Sequence[Particles], tomograms: Sequence[Tomogram]) -> dict[str, Array]:
    """Positions ``(n, 3)`` by tomogram."""
    found = {one.name: np.zeros((0, 3)) for one in tomograms}
    for item in items:
        rows = item.rows()
        for name in np.unique(rows.tomogram).tolist():
            if name not in found:
                raise DataUnfitError(
                    f"there are picks in {name}, but tomograms_from has {sorted(found)}; connect the step "
                    "that made the tomograms they were picked in"
                )
            mine = rows.positions_xyz_angstrom[rows.tomogram == name]
            found[name] = np.concatenate([found[name], mine])
    return found


def _binned(
    tomogram: Tomogram, diameter: float, params: TrainPickerParams
) -> tuple[NDArray[np.float32], int]:
    """Normalised volume, and the whole number of voxels that are averaged along each axis."""
    wanted = params.voxel_size_angstrom or diameter / _VOXELS_IN_DIAMETER
    factor = max(1, round(wanted / tomogram.voxel_size_angstrom))
    shape = tuple(n // factor for n in tomogram.volume.shape)
    if min(shape) < 1:
        raise DataUnfitError(f"the volume of {tomogram.name} is smaller than one binned voxel")
    volume = np.zeros(shape, np.float32)
    for z in range(shape[0]):
        slab = np.asarray(tomogram.volume[z * factor : (z + 1) * factor], dtype=np.float32)
        slab = slab[:, : shape[1] * factor, : shape[2] * factor].mean(axis=0)
        volume[z] = slab.reshape(shape[1], factor, shape[2], factor).mean(axis=(1, 3))
    if not np.isfinite(volume).all():
        raise DataUnfitError(f"the volume of {tomogram.name} contains values that are not finite")
    level = float(np.median(volume))
    deviation = _MAD_TO_SD * float(np.median(np.abs(volume - level)))
    if deviation == 0:
        raise DataUnfitError(f"the volume of {tomogram.name} is constant")
    return np.clip((volume - level) / deviation, -_CLIP_SD, _CLIP_SD), factor


def _labelled(
    tomogram: Tomogram, positions: Array, diameter: float, params: TrainPickerParams
) -> LabelledVolume:
    volume, factor = _binned(tomogram, diameter, params)
    index = index_from_position(positions, tomogram.volume.shape, tomogram.voxel_size_angstrom)
    # The centre of a binned voxel is the centre of the voxels it averages.
    picks = (index + 0.5) / factor - 0.5
    voxel = factor * tomogram.voxel_size_angstrom
    target = heat_map(volume.shape, picks, _SD_DIAMETERS * diameter / voxel)
    columns = (0, round((1 - _KEPT_OUT) * volume.shape[2]))
    return LabelledVolume(volume, target, picks, columns, diameter / voxel)


def _train(
    network: UNet3d, labelled: list[LabelledVolume], params: TrainPickerParams, context: StepContext
) -> None:
    n_trained = sum(int((one.picks_zyx[:, 2] < one.x_range[1]).sum()) for one in labelled)
    context.figure("n_trained", n_trained if params.epochs else 0)
    if not params.epochs:
        return
    kept_out = [replace(one, x_range=(one.x_range[1], one.volume.shape[2])) for one in labelled]

    def loss(one: torch.nn.Module, rng: np.random.Generator) -> torch.Tensor:
        images, targets = boxes_of(labelled, params.batch, params.box_px, rng)
        return heat_loss(one, images.to(context.device), targets.to(context.device))

    def validation(one: torch.nn.Module, rng: np.random.Generator) -> torch.Tensor:
        losses = []
        for _ in range(_VALIDATION_BATCHES):
            images, targets = boxes_of(kept_out, params.batch, params.box_px, rng)
            losses.append(heat_loss(one, images.to(context.device), targets.to(context.device)))
        return torch.stack(losses).mean()

    settings = TrainingSettings(
        params.epochs,
        params.steps_per_epoch,
        params.learning_rate,
        params.epochs,
        int(context.rng.integers(1 << 31)),
    )
    training = Training(network, settings, loss, validation)
    for epoch in training.epochs():
        context.progress(epoch + 1, params.epochs + 1)
    context.record(
        "training",
        [
            {"epoch": i + 1, "loss": round(a, 5), "loss_where_kept_out": round(b, 5)}
            for i, (a, b) in enumerate(zip(training.train_losses, training.validation_losses, strict=True))
        ],
    )


def _judge(
    network: UNet3d,
    labelled: list[LabelledVolume],
    params: TrainPickerParams,
    context: StepContext,
) -> float:
    """Threshold; recall and precision in the volumes left out of the training."""
    places, heights, true, offset = [], [], [], 0.0
    reach = _REACH_DIAMETERS * min(one.diameter_voxels for one in labelled) if labelled else 1.0
    for one in labelled:
        heat = predicted_heat(network, one.volume, context.device, _TILE, reach_px(2))
        found, height = peaks_of(heat, _APART_DIAMETERS * one.diameter_voxels, _LEAST_HEIGHT)
        inside = found[:, 2] >= one.x_range[1]
        kept = one.picks_zyx[one.picks_zyx[:, 2] >= one.x_range[1]]
        # Volumes are far apart here, so that picks of one never match those of another.
        shift = np.array([offset, 0.0, 0.0])
        places.append(found[inside] + shift)
        heights.append(height[inside])
        true.append(kept + shift)
        offset += 10.0 * one.volume.shape[0]
    n_true = sum(map(len, true))
    if not n_true:
        reason = "no pick is in the volumes left out of the training"
        context.figure("recall_percent", None, reason=reason)
        context.figure("precision_percent", None, reason=reason)
        context.warn(f"{reason.capitalize()}; the threshold is 0.5, and recall and precision are not known")
        least = params.least_score or 0.5
    else:
        every = np.concatenate(places), np.concatenate(heights), np.concatenate(true)
        least, recall, precision = best_threshold(*every, reach)
        if params.least_score is not None:
            least = params.least_score
            chosen = every[1] >= least
            _, recall, precision = best_threshold(
                every[0][chosen], np.ones(int(chosen.sum())), every[2], reach
            )
        context.figure("recall_percent", 100.0 * recall)
        context.figure("precision_percent", 100.0 * precision)
    context.figure("threshold", least)
    return least


def _picked(
    network: UNet3d,
    tomogram: Tomogram,
    diameter: float,
    threshold: float,
    params: TrainPickerParams,
    context: StepContext,
) -> Particles:
    volume, factor = _binned(tomogram, diameter, params)
    heat = predicted_heat(network, volume, context.device, _TILE, reach_px(2))
    voxel = factor * tomogram.voxel_size_angstrom
    found, height = peaks_of(heat, _APART_DIAMETERS * diameter / voxel, threshold)
    index = (found + 0.5) * factor - 0.5
    positions = position_from_index(index, tomogram.volume.shape, tomogram.voxel_size_angstrom)
    rows = ParticleRows.of(tomogram.name, positions, score=height)
    return Particles(
        tomogram.name,
        context.new_table(f"particles_{tomogram.name}", rows.columns()),
        (tomogram.series,),
        (tomogram,),
        species=params.species,
        diameter_angstrom=diameter,
    )
