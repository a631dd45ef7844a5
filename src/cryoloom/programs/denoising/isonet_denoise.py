"""Denoise a tomogram and fill its missing wedge with IsoNet 0.2, by a network trained on the tomogram itself.

The chain is IsoNet's own: CTF deconvolution and a mask of the specimen where wanted, boxes, refinement of the
network, prediction. IsoNet writes into its table as it goes and ends without an error code when it fails, so
each program's files are checked.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import model_validator

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Program, Workplace, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import Tomogram
from cryoloom.programs.handover import (
    ProgramParams,
    keep_volume,
    make_calls,
    place_float32,
    workplace_of,
)

__all__ = ["ISONET", "IsonetDenoiseParams", "calls", "isonet_denoise"]

ISONET = Program(
    name="IsoNet",
    suite="IsoNet",
    executables=("isonet.py",),
    purpose="denoising and filling of the missing wedge",
    versions=("0.2",),
    version_arguments=("check",),
    version_pattern=r"IsoNet --version (\d+(?:\.\d+)+)",
    needs_gpu=True,
    citation="Liu, Y.-T. et al. (2022) Isotropic reconstruction for electron tomography with deep learning. "
    "Nat. Commun. 13, 6482, doi:10.1038/s41467-022-33957-8",
    homepage="https://github.com/IsoNet-cryoET/IsoNet",
    errors=(r", ERROR +(?!Traceback)", r"^\w*Error: "),
)

_STAR, _BOXES = "tomograms.star", "subtomo.star"


class IsonetDenoiseParams(ProgramParams):
    """Options of isonet.py's commands; the defaults are its own."""

    boxes: int = option(
        "--number_subtomos", 100, ge=4, kind="computed", description="Boxes taken from the tomogram."
    )
    deconvolve: bool = option(
        "deconv", True, kind="computed", description="Deconvolve the CTF first; not for phase plates."
    )
    snr_falloff: float = option(
        "--snrfalloff", 1.0, gt=0, kind="computed", description="deconvolve: fall of signal to noise."
    )
    deconvolution_strength: float = option(
        "--deconvstrength", 1.0, gt=0, kind="computed", description="deconvolve: its strength."
    )
    highpass: float = option(
        "--highpassnyquist", 0.02, ge=0, kind="computed",
        description="deconvolve: what is coarser is damped, as a part of Nyquist's frequency.",
    )  # fmt: skip
    mask: bool = option("make_mask", True, kind="computed", description="Take boxes within the specimen.")
    density_percentage: int = option(
        "--density_percentage", 50, ge=1, le=100, kind="computed",
        description="mask: part of the voxels kept by their density, percent.",
    )  # fmt: skip
    deviation_percentage: int = option(
        "--std_percentage", 50, ge=1, le=100, kind="computed",
        description="mask: part kept by their standard deviation, percent.",
    )  # fmt: skip
    z_crop: float | None = option(
        "--z_crop", None, ge=0, lt=0.5, kind="computed",
        description="mask: part of the tomogram left out at its top and at its bottom.",
    )  # fmt: skip
    box_px: int = option("--cube_size", 64, ge=32, kind="computed", description="Side of boxes, of 8s.")
    prediction_px: int = option(
        "--crop_size", 96, ge=40, kind="computed", description="Side of the overlapping parts at the end."
    )
    iterations: int = option("--iterations", 30, ge=1, kind="computed", description="Rounds of refinement.")
    epochs: int = option("--epochs", 10, ge=1, kind="computed", description="Epochs of a round.")
    batch_size: int | None = option(
        "--batch_size", None, ge=1, kind="computed", description="Boxes of a batch; unset: IsoNet's choice."
    )
    steps_per_epoch: int | None = option(
        "--steps_per_epoch",
        None,
        ge=1,
        kind="computed",
        description="Batches of an epoch; unset: its choice.",
    )
    learning_rate: float = option(
        "--learning_rate", 4e-4, gt=0, kind="computed", description="Learning rate."
    )
    drop_out: float = option("--drop_out", 0.3, ge=0, lt=1, kind="computed", description="Drop-out rate.")
    depth: int = option("--unet_depth", 3, ge=1, le=5, kind="computed", description="Depth of the network.")
    first_filters: int = option(
        "--filter_base", 64, ge=4, kind="computed", description="Filters of the first level."
    )
    noise_levels: tuple[float, float, float, float] = option(
        "--noise_level", (0.05, 0.1, 0.15, 0.2), kind="computed",
        description="Noise added in the training, as a part of the deviation, one level after the other.",
    )  # fmt: skip
    noise_from_iteration: tuple[int, int, int, int] = option(
        "--noise_start_iter", (11, 16, 21, 26), kind="computed", description="Round that each begins in."
    )
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")

    @model_validator(mode="after")
    def _sides_fit(self) -> IsonetDenoiseParams:
        if self.box_px % 8 or self.prediction_px <= self.box_px:
            raise ValueError(
                f"box_px is {self.box_px} and prediction_px {self.prediction_px}; expected a multiple of 8, "
                "and a larger prediction_px"
            )
        return self


def calls(tomogram: Tomogram, params: IsonetDenoiseParams, workplace: Workplace) -> tuple[Call, ...]:
    """Table of the tomogram, deconvolution, mask, boxes, refinement and prediction."""
    microscope = tomogram.series.microscope
    gpu, threads = str(workplace.gpu or 0), str(workplace.n_threads)
    made = [
        _call(
            "prepare_star", "tomograms", "--output_star", _STAR,
            "--pixel_size", *text_of(tomogram.voxel_size_angstrom),
            "--defocus", *text_of(round(_defocus_angstrom(tomogram) or 0.0, 1)),
            "--number_subtomos", str(params.boxes),
            writes=(_STAR,),
        )
    ]  # fmt: skip
    if params.deconvolve:
        made.append(
            _call(
                "deconv", _STAR, "--voltage", *text_of(microscope.voltage_kv),
                "--cs", *text_of(microscope.spherical_aberration_mm),
                "--snrfalloff", *text_of(params.snr_falloff),
                "--deconvstrength", *text_of(params.deconvolution_strength),
                "--highpassnyquist", *text_of(params.highpass), "--ncpu", threads,
                writes=("deconv/tomogram.mrc",),
            )
        )  # fmt: skip
    if params.mask:
        crop = [] if params.z_crop is None else ["--z_crop", *text_of(params.z_crop)]
        made.append(
            _call(
                "make_mask", _STAR, "--density_percentage", str(params.density_percentage),
                "--std_percentage", str(params.deviation_percentage), *crop,
                writes=("mask/tomogram_mask.mrc",),
            )
        )  # fmt: skip
    optional = {"--batch_size": params.batch_size, "--steps_per_epoch": params.steps_per_epoch}
    made += [
        _call("extract", _STAR, "--cube_size", str(params.box_px), writes=(_BOXES,)),
        _call(
            "refine", _BOXES, "--gpuID", gpu, "--iterations", str(params.iterations),
            "--preprocessing_ncpus", threads, "--epochs", str(params.epochs),
            *(word for name, n in optional.items() if n is not None for word in (name, str(n))),
            "--learning_rate", *text_of(params.learning_rate), "--drop_out", *text_of(params.drop_out),
            "--unet_depth", str(params.depth), "--filter_base", str(params.first_filters),
            "--noise_level", ",".join(text_of(params.noise_levels)),
            "--noise_start_iter", ",".join(text_of(params.noise_from_iteration)),
            writes=(_network(params),),
        ),
        _call(
            "predict", _STAR, _network(params), "--gpuID", gpu, "--cube_size", str(params.box_px),
            "--crop_size", str(params.prediction_px),
            writes=("corrected_tomos/tomogram_corrected.mrc",),
        ),
    ]  # fmt: skip
    return tuple(made)


def _call(command: str, *words: str, writes: tuple[str, ...]) -> Call:
    return Call(program=ISONET, arguments=(command, *words), writes=writes)


def _network(params: IsonetDenoiseParams) -> str:
    return f"results/model_iter{params.iterations:02d}.h5"


def _defocus_angstrom(tomogram: Tomogram) -> float | None:
    """Defocus of the least tilted image that has one, which IsoNet takes for the whole tomogram."""
    known = [tilt for tilt in tomogram.series.included if tilt.ctf is not None]
    if not known:
        return None
    least = min(known, key=lambda tilt: abs(tilt.nominal_tilt_deg))
    return None if least.ctf is None else least.ctf.defocus_angstrom


@step(
    "isonet_denoise",
    per="tomogram",
    needs=Tomogram,
    gives=Tomogram,
    bytes_needed=lambda tomogram, params: 16 << 30,
    gpu="optional",
    methods="Tomograms were denoised and their missing wedge filled with IsoNet.",
    figures=(
        Figure(
            "training_boxes", "", "Training boxes", "Boxes that the network of this tomogram was made from."
        ),
    ),
    programs=(ISONET,),
    calls=calls,
    beside="denoise",
)
def isonet_denoise(tomogram: Tomogram, params: IsonetDenoiseParams, context: StepContext) -> Tomogram:
    """Train IsoNet on a tomogram, and denoise and fill it."""
    if params.deconvolve and _defocus_angstrom(tomogram) is None:
        raise DataUnfitError(
            f"no tilt of {tomogram.name} has a CTF, which IsoNet's deconvolution needs; estimate it, or set "
            "deconvolve false"
        )
    n_z, n_y, n_x = tomogram.volume.shape
    side = params.box_px + 16  # of the boxes that IsoNet cuts
    if min(n_z, n_y, n_x) <= side:
        raise DataUnfitError(
            f"{tomogram.name} has {n_x} x {n_y} x {n_z} voxels, but every side must be longer than a box of "
            f"{side}; choose a smaller box_px"
        )
    folder, voxel = context.scratch(), tomogram.voxel_size_angstrom
    (folder / "tomograms").mkdir(exist_ok=True)
    place_float32(tomogram.volume, folder / "tomograms" / "tomogram.mrc", voxel)
    made = calls(tomogram, params, workplace_of(context))
    make_calls(made, params, context)
    result = folder / "corrected_tomos" / "tomogram_corrected.mrc"
    volume = keep_volume(context, "tomogram", result, (n_z, n_y, n_x), voxel, multiscale=params.multiscale)
    context.figure("training_boxes", len(read_blocks(folder / _BOXES).get("", [])))
    return replace(tomogram, volume=volume, even=None, odd=None, method=f"{tomogram.method}, IsoNet")
