"""Denoise tomograms with a network trained on their even and odd halves.

``noise2noise`` follows cryoCARE (Buchholz et al., Methods Cell Biol. 152, 2019): a U-Net learns to predict
one half from the other; their noise differs and cannot be learned. Boxes are rotated at random, so that few
objects show all orientations. ``missing_wedge`` follows DeepDeWedge (Wiedemann & Heckel, Nat. Commun. 15,
8255 (2024)): a second wedge is removed from the rotated boxes, and the network learns to denoise and to fill
it. The content of the wedge is a prediction consistent with the rest of the tomogram: use it for viewing, not
for averaging. The result is the mean of the network's output for both halves.

Parameters that are not set are chosen for the device. On a CPU the network has half the filters, and training
uses an eighth of the batches with fewer and smaller boxes: a hundredth of the computation of a GPU run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from cryoloom.algorithms.denoising.half_boxes import HalfBoxes, Normalisation, draw_boxes
from cryoloom.algorithms.denoising.missing_wedge import (
    TiltRange,
    random_rotations,
    turned,
    wedge_loss,
    with_wedge_filled,
)
from cryoloom.algorithms.denoising.network_training import (
    Training,
    TrainingSettings,
    weights_of,
)
from cryoloom.algorithms.denoising.unet import UNet3d, reach_px
from cryoloom.algorithms.images.volume_tiles import TilePlan, map_tiles
from cryoloom.contract.citations import CitedFor
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.network_weights import write_network
from cryoloom.model import Pixels, Tomogram
from cryoloom.procedures.trained_network import starting_network

__all__ = ["DenoiseParams", "denoise"]

Method = Literal["noise2noise", "missing_wedge"]


class DenoiseParams(StepParams):
    """Parameters of the network and its training."""

    method: Method = Field("noise2noise", description="Denoise only, or also fill the missing wedge.")
    weights: Path | None = Field(
        None,
        description="network.safetensors of an earlier run to start from; with epochs=0 it is only applied.",
    )
    epochs: int | None = Field(
        None, ge=0, le=2000, description="Largest number of epochs. Unset: 30 on a GPU, 12 on a CPU."
    )
    steps_per_epoch: int | None = Field(
        None, ge=1, le=5000, description="Batches per epoch. Unset: 75 on a GPU, 25 on a CPU."
    )
    patience: int = Field(5, ge=1, description="Epochs without improvement after which training ends.")
    batch: int | None = Field(None, ge=1, le=256, description="Boxes per batch. Unset: 4 on GPU, 2 on CPU.")
    box_px: int | None = Field(
        None,
        ge=16,
        le=256,
        description="Edge of a box, a multiple of 2^depth. Unset: 64 on a GPU, 48 on a CPU.",
    )
    n_boxes: int | None = Field(
        None,
        ge=2,
        le=20000,
        description="Boxes extracted from the tomogram. Unset: 300 on a GPU, 150 on a CPU.",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Initial rate of the Adam optimiser. Unset: 0.0004 on a GPU, 0.001 on a CPU.",
    )
    filters: int | None = Field(
        None,
        ge=2,
        le=128,
        description="Channels of the network at full resolution. Unset: 16 on a GPU, 8 on a CPU.",
    )
    depth: int = Field(2, ge=0, le=4, description="Number of times that the network halves the resolution.")
    multiscale: bool = Field(False, description="Also write an OME-Zarr pyramid.")

    @model_validator(mode="after")
    def _sizes_go_together(self) -> DenoiseParams:
        if (self.box_px or 0) % (1 << self.depth):
            raise ValueError(f"box_px is {self.box_px}; expected a multiple of {1 << self.depth} (2^depth)")
        if self.epochs == 0 and self.weights is None:
            raise ValueError("epochs is 0 and there are no weights to apply; set weights, or epochs")
        return self


@dataclass(frozen=True, slots=True)
class _Effort:
    """Size of the network and of its training."""

    epochs: int
    steps_per_epoch: int
    batch: int
    box_px: int
    n_boxes: int
    learning_rate: float
    filters: int

    def with_choices_of(self, params: DenoiseParams) -> _Effort:
        """The user's values, and these where a value is unset; boxes fit the network's depth."""
        step_px = 1 << params.depth
        chosen = {name: getattr(params, name) for name in self.__slots__}
        given = {name: value for name, value in chosen.items() if value is not None}
        return replace(self, **({"box_px": -(-self.box_px // step_px) * step_px} | given))


# cryoCARE trains 16 filters with 75 batches an epoch; the CPU setting takes some minutes on two cores
# (benchmarks/denoise_quality.py).
_ON_GPU = _Effort(
    epochs=30, steps_per_epoch=75, batch=4, box_px=64, n_boxes=300, learning_rate=4e-4, filters=16
)
_ON_CPU = _Effort(
    epochs=12, steps_per_epoch=25, batch=2, box_px=48, n_boxes=150, learning_rate=1e-3, filters=8
)


def _effort(params: DenoiseParams, device: str) -> _Effort:
    return (_ON_CPU if device == "cpu" else _ON_GPU).with_choices_of(params)


_MIB = 1 << 20
"""Bytes of a mebibyte."""
_BESIDES_BYTES = 600 * _MIB  # chosen: torch's code and pools
#: Chosen: boxes that will be rotated are extracted wider by this factor: a square has its corners at 1.41.
_WIDER_BOX = 1.5


def _box_edge(params: DenoiseParams, effort: _Effort) -> int:
    """Edge of the stored training boxes: they are rotated before use."""
    step_px = 1 << params.depth
    return -(-int(_WIDER_BOX * effort.box_px) // step_px) * step_px


def _bytes_needed(tomogram: Tomogram, params: DenoiseParams) -> int:
    """Boxes, and either the features of a batch with their gradients, or those of a tile.

    On a GPU boxes are larger, but batches are in its memory; the larger of the two is reported.
    """
    needed = []
    for device, effort in (("cpu", _effort(params, "cpu")), ("cuda", _effort(params, "cuda"))):
        boxes = 1.2 * effort.n_boxes * 2 * (2 + 4) * _box_edge(params, effort) ** 3
        batch = effort.batch * effort.box_px**3 * _bytes_per_voxel(effort) if device == "cpu" else 0
        needed.append((boxes if effort.epochs else 0) + max(batch, 64 * _MIB))
    return int(max(needed)) + _BESIDES_BYTES


def _bytes_per_voxel(effort: _Effort) -> int:
    """Features of all layers at float32 that training keeps, and their gradients."""
    return 4 * 14 * effort.filters * 2


FIGURES = (
    Figure(
        "loss_ratio",
        "",
        "Loss of the network relative to the unchanged input",
        "Measured on boxes that were not used for training. Noise alone gives 0.5; near 1 nothing was "
        "learned.",
        good="well below 1; 0.5 is the best possible",
    ),
    Figure("n_epochs", "", "Training epochs", "Number of training epochs until the best network."),
)
RECORDS = (Record("training", "Losses of the network in every epoch.", shows="training"),)


@step(
    "denoise",
    version=2,
    per="tomogram",
    needs=Tomogram,
    gives=Tomogram,
    bytes_needed=_bytes_needed,
    gpu="optional",
    outside=lambda name, params: file_digests([params.weights] if params.weights else []),
    citations=(
        "Lehtinen et al., Noise2Noise, ICML (2018)",
        CitedFor("Buchholz et al., Methods Cell Biol. 152, 277 (2019)", "method", ("noise2noise",)),
        CitedFor("Wiedemann & Heckel, Nat. Commun. 15, 8255 (2024)", "method", ("missing_wedge",)),
    ),
    methods="Tomograms were denoised by a three-dimensional U-Net trained on their halves ({method}).",
    asks={"halves": True},
    figures=FIGURES,
    records=RECORDS,
)
def denoise(tomogram: Tomogram, params: DenoiseParams, context: StepContext) -> Tomogram:
    """Train on the halves of a tomogram, or use a trained network, and apply it to both halves."""
    even, odd = _halves(tomogram)
    effort = _effort(params, context.device)
    network = starting_network(params.weights, effort.filters, params.depth).to(context.device)
    training, validation, normalisation = _boxes(even, odd, params, effort, context)
    if effort.epochs:
        _train(network, training, validation, tomogram, params, effort, context)
    facts = {"method": params.method, "filters": str(network.filters), "depth": str(network.depth)}
    facts["voxel_size_angstrom"] = f"{tomogram.voxel_size_angstrom:g}"
    write_network(context.new_file("network.safetensors"), weights_of(network), facts)
    plan = _tile_plan(even.shape, network, context.memory_bytes)
    sink = context.new_pixels(
        "tomogram",
        plan.volume_shape,
        tomogram.voxel_size_angstrom,
        kind="volume",
        multiscale=params.multiscale,
    )
    before = effort.epochs * effort.steps_per_epoch

    def mean_of_both(*halves: NDArray[np.float32]) -> NDArray[np.float32]:
        made = [_applied(network, normalisation.apply(half), context.device) for half in halves]
        return normalisation.undo(0.5 * (made[0] + made[1]))

    smallest = _tile_plan(even.shape, network, 0)  # so that the available memory does not change the result
    added = _mean_added(smallest, [even, odd], mean_of_both)
    tiles = map_tiles([even, odd], plan, lambda *halves: mean_of_both(*halves) - added, sink)
    for done, _ in enumerate(tiles, start=1):
        context.progress(before + done, before + len(plan.starts))
    return replace(
        tomogram,
        volume=sink,
        even=None,
        odd=None,
        method=f"{tomogram.method}, {_METHOD_TEXTS[params.method]}",
    )


_METHOD_TEXTS = {"noise2noise": "denoised (Noise2Noise)", "missing_wedge": "denoised, missing wedge filled"}


def _halves(tomogram: Tomogram) -> tuple[Pixels, Pixels]:
    if tomogram.even is None or tomogram.odd is None:
        raise DataUnfitError(
            "denoising needs an even and an odd tomogram, and this one has none; reconstruct it with "
            "halves=true from movies, or from a stack with even and odd images",
            series=tomogram.name,
        )
    return tomogram.even, tomogram.odd


def _boxes(
    even: Pixels, odd: Pixels, params: DenoiseParams, effort: _Effort, context: StepContext
) -> tuple[HalfBoxes, HalfBoxes, Normalisation]:
    n_boxes = effort.n_boxes if effort.epochs else min(effort.n_boxes, 32)  # enough for mean and deviation
    return draw_boxes(even, odd, n_boxes, _box_edge(params, effort), context.rng)


def _train(
    network: UNet3d,
    boxes: HalfBoxes,
    validation: HalfBoxes,
    tomogram: Tomogram,
    params: DenoiseParams,
    effort: _Effort,
    context: StepContext,
) -> None:
    """Train, from a checkpoint if there is one, and load the best weights into the network."""
    tilts = _tilt_range(tomogram)
    loss = _LOSSES[params.method]
    training = Training(
        network,
        TrainingSettings(
            effort.epochs,
            effort.steps_per_epoch,
            effort.learning_rate,
            params.patience,
            int(context.rng.integers(1 << 32)),
        ),
        lambda network, rng: loss(network, boxes, effort.batch, effort.box_px, tilts, context.device, rng),
        lambda network, rng: _mean_loss(
            loss, network, validation, effort.batch, effort.box_px, tilts, context.device, rng
        ),
    )
    facts = (tomogram, params.model_dump(mode="json", exclude={"multiscale"}) | asdict(effort))
    kept = context.load_partial(*facts)
    if kept is not None:
        training.restore(kept)
    total = effort.epochs * effort.steps_per_epoch

    def tell(step_of_epoch: int) -> None:
        context.progress(training.n_epochs_done * effort.steps_per_epoch + step_of_epoch, total + 1)

    for epoch in training.epochs(tell):
        context.checkpoint(training.state(), *facts)
        done = epoch + 1
        if (
            params.method == "missing_wedge"
            and done % max(1, effort.epochs // 4) == 0
            and not training.is_done
        ):
            _fill_wedges(network, boxes, tilts, context.device)
    doing_nothing = float(
        training.validation_loss(nn.Identity(), np.random.default_rng(training.settings.seed))
    )
    context.figure("loss_ratio", min(training.validation_losses) / doing_nothing)
    context.figure("n_epochs", training.best_epoch + 1)
    context.record(
        "training",
        {
            "training_loss": training.train_losses,
            "validation_loss": training.validation_losses,
            "loss_of_doing_nothing": doing_nothing,
        },
    )
    if min(training.validation_losses) >= doing_nothing:
        context.warn(
            f"{tomogram.name}: the network did not improve boxes that were left out of training; train "
            "longer, "
            "with more boxes, or check that even and odd tomograms show the same specimen"
        )


def _noise2noise_loss(
    network: nn.Module,
    boxes: HalfBoxes,
    batch: int,
    edge: int,
    tilts: TiltRange,
    device: str,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Both halves with the same random rotation.

    A tomogram contains few objects, each in few orientations: rotations show all orientations of each
    (benchmarks/denoise_quality.py).
    """
    given, wanted = boxes.batch(batch, rng)
    rotations = random_rotations(batch, rng).to(device)
    given, wanted = (turned(half.to(device), rotations, edge) for half in (given, wanted))
    return functional.mse_loss(network(given), wanted)


def _missing_wedge_loss(
    network: nn.Module,
    boxes: HalfBoxes,
    batch: int,
    edge: int,
    tilts: TiltRange,
    device: str,
    rng: np.random.Generator,
) -> torch.Tensor:
    given, wanted = boxes.batch(batch, rng)
    rotations = random_rotations(batch, rng).to(device)
    return wedge_loss(network, given.to(device), wanted.to(device), rotations, edge, tilts)


_LOSSES = {"noise2noise": _noise2noise_loss, "missing_wedge": _missing_wedge_loss}


def _mean_loss(loss: Any, network: nn.Module, boxes: HalfBoxes, batch: int, *more: Any) -> torch.Tensor:
    """Mean over about as many boxes as there are, at most 32."""
    n = max(1, min(len(boxes), 32) // batch)
    return torch.stack([loss(network, boxes, batch, *more) for _ in range(n)]).mean()


def _fill_wedges(network: UNet3d, boxes: HalfBoxes, tilts: TiltRange, device: str) -> None:
    """Fill the unmeasured wedge of every box with the network's output: the next epochs start from it."""
    network.eval()
    with torch.no_grad():
        for pair in boxes.boxes:
            given = torch.from_numpy(pair.astype(np.float32))[:, None].to(device)
            pair[...] = with_wedge_filled(given, network(given), tilts)[:, 0].cpu().numpy()


def _tilt_range(tomogram: Tomogram) -> TiltRange:
    """Lowest and highest tilt in use, plus half a step: each image covers a slab in Fourier space."""
    angles = sorted(tilt.pose.tilt_deg for tilt in tomogram.series.included if tilt.pose is not None)
    if len(angles) < 2:
        raise DataUnfitError(
            "the tilts of this tomogram have no poses; reconstruct it from an aligned series",
            series=tomogram.name,
        )
    half_step = 0.5 * float(np.median(np.diff(angles)))
    return angles[0] - half_step, angles[-1] + half_step


def _tile_plan(shape: tuple[int, ...], network: UNet3d, memory_bytes: int) -> TilePlan:
    """Tiles whose features fit into memory, with a halo wider than the receptive field: no visible seams."""
    n_z, n_y, n_x = shape
    room = max(memory_bytes - _BESIDES_BYTES, 0) / (4 * 8 * network.filters)
    margin = reach_px(network.depth)
    voxels = min(max(room, (3 * margin) ** 3), 224**3)
    return TilePlan.fitting((n_z, n_y, n_x), (margin, margin, margin), voxels, 1 << network.depth)


def _mean_added(
    plan: TilePlan, sources: Sequence[Pixels], work: Callable[..., NDArray[np.float32]]
) -> np.float32:
    """Offset of the mean that the network adds, from eight tiles spread over the volume.

    The loss constrains the mean weakly, and a denoised tomogram must keep its own.
    """
    starts = plan.starts
    added = []
    for start in starts[:: max(1, len(starts) // 8)]:
        tiles, inside = [plan.read(source, start) for source in sources], plan.inside(start)
        given = np.mean([tile[inside].mean() for tile in tiles])
        added.append(work(*tiles)[inside].mean() - given)
    return np.float32(np.mean(added))


def _applied(network: UNet3d, volume: NDArray[np.float32], device: str) -> NDArray[np.float32]:
    network.eval()
    with torch.no_grad():
        made = network(torch.from_numpy(volume)[None, None].to(device))[0, 0]
    result: NDArray[np.float32] = made.cpu().numpy()
    return result
