"""Find membranes with MemBrain-seg, and give points on them with normals as segment_membranes does.

MemBrain marks voxels by a trained network, whose weights the user gives. The middle of what is marked becomes
points with normals; they are linked to membranes, and closed ones get outward normals, by the code of the
native step. Density is dark in our tomograms, as MemBrain expects.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cryoloom.algorithms.picking.membranes import membranes_of
from cryoloom.algorithms.picking.segmented_sheets import sheet_points
from cryoloom.contract.program import Call, Program, Workplace, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.geometry.frames import position_from_index
from cryoloom.model import Particles, Tomogram
from cryoloom.procedures.membrane_points import (
    MEMBRANE_FIGURES,
    MEMBRANE_RECORDS,
    points_on_membranes,
)
from cryoloom.programs.handover import ProgramParams, make_calls, place_float32, workplace_of

__all__ = ["MEMBRAIN", "MembrainSegmentMembranesParams", "calls", "membrain_segment_membranes"]

MEMBRAIN = Program(
    name="MemBrain-seg",
    suite="MemBrain",
    executables=("membrain",),
    purpose="segmentation of membranes",
    versions=("0.0.10",),
    version_arguments=None,
    citation="Lamm, L. et al. (2024) MemBrain v2: an end-to-end tool for the analysis of membranes in "
    "cryo-electron tomography. bioRxiv, doi:10.1101/2024.01.05.574336",
    homepage="https://github.com/teamtomo/membrain-seg",
    errors=(r"^\w*Error: ",),
)

_OUT = "predictions/"
_THICKNESS_ANGSTROM = 50.0
"""Thickness of the regions that MemBrain marks: both leaflets."""


class MembrainSegmentMembranesParams(ProgramParams):
    """Options of ``membrain segment``."""

    weights: Path | None = option(
        "--ckpt-path", None, kind="computed", description="Trained network (.ckpt), as MemBrain offers it."
    )
    rescale: bool = option(
        "--rescale-patches", True, kind="computed",
        description="Rescale parts of the tomogram to the voxel size that the network was trained at.",
    )  # fmt: skip
    network_voxel_angstrom: float = option(
        "--out-pixel-size", 10.0, gt=0, kind="computed", description="rescale: that voxel size."
    )
    threshold: float = option(
        "--segmentation-threshold", 0.0, kind="computed", description="Score above which voxels are marked."
    )
    least_voxels: int | None = option(
        "--connected-component-thres", None, ge=1, kind="computed",
        description="Connected parts smaller than this are dropped by MemBrain.",
    )  # fmt: skip
    augment: bool = option(
        "--test-time-augmentation", True, kind="computed",
        description="Mean over eight mirrored copies: better, and eight times as long.",
    )  # fmt: skip
    window_px: int = option(
        "--sliding-window-size", 160, ge=32, multiple_of=32, kind="computed",
        description="Side of the parts that are segmented at once; smaller ones need less memory.",
    )  # fmt: skip
    min_area_angstrom2: float = setting(60_000.0, gt=0, description="Smallest membrane kept.")
    spacing_angstrom: float = setting(60.0, gt=0, description="Distance between the points that are given.")
    species: str = setting("membrane", description="Name of what is found.")


def calls(
    tomogram: Tomogram, params: MembrainSegmentMembranesParams, workplace: Workplace
) -> tuple[Call, ...]:
    """One run over the tomogram."""
    voxel = text_of(tomogram.voxel_size_angstrom)
    components = (
        []
        if params.least_voxels is None
        else ["--store-connected-components", "--connected-component-thres", str(params.least_voxels)]
    )
    return (
        Call(
            program=MEMBRAIN,
            arguments=(
                "segment", "--tomogram-path", "tomogram.mrc", "--ckpt-path", str(params.weights),
                "--out-folder", _OUT, "--in-pixel-size", *voxel,
                *(["--rescale-patches"] if params.rescale else ["--no-rescale-patches"]),
                "--out-pixel-size", *text_of(params.network_voxel_angstrom),
                "--segmentation-threshold", *text_of(params.threshold), *components,
                *(["--test-time-augmentation"] if params.augment else ["--no-test-time-augmentation"]),
                "--sliding-window-size", str(params.window_px),
            ),
            writes=(f"{_OUT}{_result_name(params)}",),
            environment={} if workplace.gpu is not None else {"CUDA_VISIBLE_DEVICES": "-1"},
        ),
    )  # fmt: skip


def _result_name(params: MembrainSegmentMembranesParams) -> str:
    """MemBrain names its result by the tomogram and by the weights, up to their validation loss."""
    token = "" if params.weights is None else params.weights.name.split("-val_loss")[0]
    return f"tomogram_{token}_segmented.mrc"


@step(
    "membrain_segment_membranes",
    version=2,
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: (2 << 30) + 100 * math.prod(tomogram.volume.shape),
    gpu="optional",
    outside=lambda name, params: file_digests([params.weights] if params.weights else []),
    methods="Membranes were segmented with MemBrain-seg ({total_n_membranes:.0f} membranes).",
    figures=MEMBRANE_FIGURES,
    records=MEMBRANE_RECORDS,
    programs=(MEMBRAIN,),
    calls=calls,
    beside="segment_membranes",
)
def membrain_segment_membranes(
    tomogram: Tomogram, params: MembrainSegmentMembranesParams, context: StepContext
) -> Particles:
    """Find membranes with MemBrain-seg, and give points on them with normals."""
    if params.weights is None or not params.weights.is_file():
        raise UserInputError(
            f"MemBrain-seg needs a trained network, and weights is {params.weights}; give the .ckpt file "
            "(weights), which its page offers"
        )
    folder, voxel = context.scratch(), tomogram.voxel_size_angstrom
    # Its name in the scratch folder is that outside, which MemBrain puts into the name of its result.
    given = folder / params.weights.name.replace(" ", "_")
    given.symlink_to(params.weights.resolve())
    inside = params.model_copy(update={"weights": Path(given.name)})
    place_float32(tomogram.volume, folder / "tomogram.mrc", voxel)
    make_calls(calls(tomogram, inside, workplace_of(context)), params, context)
    marked = MrcPixels(folder / _OUT / _result_name(inside))
    shape = tomogram.volume.shape
    if marked.shape != shape:
        raise DataUnfitError(
            f"MemBrain-seg marked a volume of {marked.shape} voxels, expected {shape}; nothing is taken"
        )
    mask = np.stack([np.asarray(marked[z]) > 0 for z in range(shape[0])])
    points = sheet_points(mask, max(0.5 * _THICKNESS_ANGSTROM / voxel, 0.8))
    found = membranes_of(
        points,
        position_from_index(points.index_zyx, (shape[0], shape[1], shape[2]), voxel),
        voxel,
        patch_angstrom=0.0,
        sure_score=0.0,
        least_area_angstrom2=params.min_area_angstrom2,
    )
    if not found:
        context.warn(f"no membrane was found in {tomogram.name}; lower threshold or min_area_angstrom2")
    return points_on_membranes(
        tomogram, found, spacing_angstrom=params.spacing_angstrom, species=params.species, context=context
    )
