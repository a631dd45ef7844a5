"""Denoise tomograms with cryoCARE: a network trained on the even and odd half of each, and applied to both.

cryoCARE reads what to do from JSON files, one for each of its three programs. Training and prediction use the
GPU that the engine assigned, or the processor.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Program, Workplace, option, setting
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Tomogram
from cryoloom.programs.handover import (
    ProgramParams,
    json_lines,
    keep_volume,
    make_calls,
    place_float32,
    workplace_of,
)

__all__ = ["CRYOCARE", "CryocareDenoiseParams", "calls", "cryocare_denoise"]


def _cryocare(script: str, purpose: str) -> Program:
    return Program(
        name=script.removesuffix(".py"),
        suite="cryoCARE",
        executables=(script,),
        purpose=purpose,
        versions=("0.2", "0.3"),
        version_arguments=None,
        citation="Buchholz, T.-O. et al. (2019) Content-aware image restoration for electron microscopy. "
        "Methods Cell Biol. 152, 277-289, doi:10.1016/bs.mcb.2019.05.001",
        homepage="https://github.com/juglab/cryoCARE_pip",
    )


CRYOCARE = (
    _cryocare("cryoCARE_extract_train_data.py", "boxes to train on"),
    _cryocare("cryoCARE_train.py", "training of the network"),
    _cryocare("cryoCARE_predict.py", "denoising with the network"),
)


class CryocareDenoiseParams(ProgramParams):
    """Entries of cryoCARE's JSON files; the defaults are its own."""

    box_px: int = option("patch_shape", 72, ge=32, kind="computed", description="Side of the training boxes.")
    boxes: int = option("num_slices", 1200, ge=10, description="Boxes taken from the tomogram.")
    training_part: float = option("split", 0.9, gt=0, lt=1, description="Part of the boxes to train on.")
    normalisation_boxes: int = option(
        "n_normalization_samples", 500, ge=10, description="Boxes that mean and deviation are taken from."
    )
    epochs: int = option("epochs", 100, ge=1, description="Epochs of the training.")
    steps_per_epoch: int = option("steps_per_epoch", 200, ge=1, description="Batches of an epoch.")
    batch_size: int = option("batch_size", 16, ge=1, description="Boxes of a batch.")
    kernel_size: int = option("unet_kern_size", 3, ge=3, le=7, description="Size of the kernels, odd.")
    depth: int = option("unet_n_depth", 3, ge=1, le=5, description="Depth of the network.")
    first_filters: int = option("unet_n_first", 16, ge=4, description="Filters of the first level.")
    learning_rate: float = option("learning_rate", 4e-4, gt=0, description="Learning rate.")
    tiles: int = option(
        "n_tiles", 1, ge=1, le=32, kind="computed", description="Tiles along each axis in the prediction."
    )
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


def calls(tomogram: Tomogram, params: CryocareDenoiseParams, workplace: Workplace) -> tuple[Call, ...]:
    """Boxes, training, prediction."""
    extract, train, predict = CRYOCARE
    # Without a number and without a GPU it fails; with a number it warns and continues.
    gpu = {"gpu_id": workplace.gpu or 0}
    environment = {"CUDA_VISIBLE_DEVICES": "-1"} if workplace.gpu is None else {}
    return (
        Call(
            program=extract,
            arguments=("--conf", "boxes.json"),
            files={
                "boxes.json": json_lines(
                    {
                        "even": ["even.mrc"], "odd": ["odd.mrc"], "patch_shape": [params.box_px] * 3,
                        "num_slices": params.boxes, "split": params.training_part, "tilt_axis": "Y",
                        "n_normalization_samples": params.normalisation_boxes, "path": "boxes",
                    }
                ),
            },
            # In a folder that it makes: one that is there already ends it.
            writes=("boxes/train_data.npz", "boxes/val_data.npz"),
        ),
        Call(
            program=train,
            arguments=("--conf", "train.json"),
            files={
                "train.json": json_lines(
                    {
                        "train_data": "boxes", "epochs": params.epochs,
                        "steps_per_epoch": params.steps_per_epoch,
                        "batch_size": params.batch_size, "unet_kern_size": params.kernel_size,
                        "unet_n_depth": params.depth, "unet_n_first": params.first_filters,
                        "learning_rate": params.learning_rate, "model_name": "network", "path": "./", **gpu,
                    }
                ),
            },
            writes=("network.tar.gz",),
            environment=environment,
        ),
        Call(
            program=predict,
            arguments=("--conf", "predict.json"),
            files={
                "predict.json": json_lines(
                    {
                        "path": "network.tar.gz", "even": "even.mrc", "odd": "odd.mrc",
                        "n_tiles": [params.tiles] * 3, "output": "denoised", **gpu,
                    }
                ),
            },
            writes=("denoised/even.mrc",),
            environment=environment,
        ),
    )  # fmt: skip


@step(
    "cryocare_denoise",
    per="tomogram",
    needs=Tomogram,
    gives=Tomogram,
    bytes_needed=lambda tomogram, params: 8 << 30,
    gpu="optional",
    methods="Tomograms were denoised with cryoCARE.",
    asks={"halves": True},
    figures=(
        Figure(
            "training_boxes", "", "Training boxes", "Boxes that the network of this tomogram was made from."
        ),
    ),
    programs=CRYOCARE,
    calls=calls,
    beside="denoise",
)
def cryocare_denoise(tomogram: Tomogram, params: CryocareDenoiseParams, context: StepContext) -> Tomogram:
    """Train cryoCARE on the halves of a tomogram and denoise it."""
    if tomogram.even is None or tomogram.odd is None:
        raise DataUnfitError(
            f"{tomogram.name} has no even and odd tomogram to train on; reconstruct with halves, from frames "
            "that were summed in halves"
        )
    folder, voxel = context.scratch(), tomogram.voxel_size_angstrom
    n_z, n_y, n_x = tomogram.volume.shape
    if min(n_z, n_y, n_x) <= 2 * params.box_px:  # its own assertion, without a word
        raise DataUnfitError(
            f"{tomogram.name} has {n_x} x {n_y} x {n_z} voxels, but every side must be longer than two "
            f"boxes of {params.box_px}; choose a "
            "smaller box_px"
        )
    place_float32(tomogram.even, folder / "even.mrc", voxel)
    place_float32(tomogram.odd, folder / "odd.mrc", voxel)
    make_calls(calls(tomogram, params, workplace_of(context)), params, context)
    volume = keep_volume(
        context, "tomogram", folder / "denoised" / "even.mrc", (n_z, n_y, n_x), voxel,
        multiscale=params.multiscale,
    )  # fmt: skip
    context.figure("training_boxes", params.boxes * params.training_part)
    return replace(tomogram, volume=volume, even=None, odd=None, method=f"{tomogram.method}, cryoCARE")
