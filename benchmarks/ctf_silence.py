"""Whether exposures with and without Thon rings are distinguished: simulated series in small images.

The same series are made with rings in all exposures, and with every fourth taken through a microscope that
transfers all frequencies alike: specimen, dose and noise are there, rings are not. A third kind has only
counting noise in these exposures.

    python benchmarks/ctf_silence.py [--seeds 1 2] [--specimens builtin MODEL.cif.gz] [--keep DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from cryoloom.model import Sourced, TiltSeries
from cryoloom.simulate.microscope import Optics
from cryoloom.simulate.session import SimulationParams
from cryoloom.simulate.truth import TiltTruth
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf
from kept_series import kept_series

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

# Edge in pixels and pixel size in angstrom; the last is the demo's.
FIELDS = (((384, 384), 2.7), ((512, 512), 2.7), ((512, 720), 5.0))
EVERY = 4
KINDS = ("rings", "no rings", "only noise")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--specimens", nargs="+", default=["builtin"])
    parser.add_argument("--fields", type=int, nargs="+", default=list(range(len(FIELDS))))
    parser.add_argument("--thickness", type=float, default=1200.0)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.keep or Path(tempfile.mkdtemp())
    found: dict[str, list[tuple[float, bool]]] = {kind: [] for kind in KINDS}
    print(
        f"{'series':<32}{'kind':<12}{'seen':>10}{'strength in standard deviations: least, median, most':>60}"
    )
    for specimen in arguments.specimens:
        for seed in arguments.seeds:
            for shape, pixel in (FIELDS[i] for i in arguments.fields):
                params = SimulationParams(
                    seed=seed,
                    specimen=specimen,
                    image_shape_yx=shape,
                    pixel_size_angstrom=pixel,
                    thickness_angstrom=arguments.thickness,
                )
                name = f"{Path(specimen).name.split('.')[0]} {seed}, {shape[1]} x {shape[0]} at {pixel} A"
                for kind in KINDS:
                    looks = looked_at(params, kind, range(seed % EVERY, 200, EVERY), folder)
                    print(f"{name:<32}{kind:<12}{described(looks)}", flush=True)
                    found[kind] += looks
    for kind, looks in found.items():
        print(f"{'all':<32}{kind:<12}{described(looks)}")


def described(looks: list[tuple[float, bool]]) -> str:
    if not looks:
        return "no series"
    strengths, seen = np.array([s for s, _ in looks]), sum(ok for _, ok in looks)
    quantiles = np.percentile(strengths, [0, 50, 100])
    return f"{seen:>5} of {len(looks)}" + "".join(f"{q:8.1f}" for q in quantiles)


def looked_at(
    params: SimulationParams, kind: str, changed: Collection[int], folder: Path
) -> list[tuple[float, bool]]:
    """Strength of the rings in standard deviations, and whether they are called seen, of a kind's exposures.

    Nothing of a series in which none are seen at all.
    """
    series = made(params, kind, changed, folder)
    context = MemoryContext(n_threads=1)
    result = estimate_ctf(series, EstimateCtfParams(), context)
    if any(tilt.ctf is None for tilt in result.tilts):
        return []
    strengths = {
        curve["acquisition_index"]: curve["strength_in_sds"] for curve in context.records["ctf_curves"]
    }
    return [
        (strengths[tilt.acquisition_index], not tilt.ctf.predicted)
        for tilt in result.tilts
        if tilt.ctf is not None and (kind == "rings" or tilt.acquisition_index in changed)
    ]


def made(params: SimulationParams, kind: str, changed: Collection[int], folder: Path) -> TiltSeries:
    transfer = Optics.ctf

    def even(optics: Optics, tilt: TiltTruth, less_defocus_angstrom: float = 0.0) -> torch.Tensor:
        if tilt.acquisition_index in changed:
            return torch.full_like(optics.k2, 0.7)
        return transfer(optics, tilt, less_defocus_angstrom)

    if kind == "no rings":
        # Kept apart: the parameters do not tell them from the others.
        with patch.object(Optics, "ctf", even):
            series, truth = kept_series(params, folder / "without_rings")
    else:
        series, truth = kept_series(params, folder)
    if kind == "only noise":
        images = np.array(series.unweighted_stack.images[:])
        rng = np.random.default_rng(params.seed)
        for tilt in series.tilts:
            if tilt.acquisition_index in changed and tilt.section is not None:
                images[tilt.section] = rng.poisson(images[tilt.section].mean(), images.shape[1:])
        series = replace(series, stack=replace(series.unweighted_stack, images=images))
    posed = series.with_tilts({tilt.acquisition_index: {"pose": tilt.pose} for tilt in truth.tilts})
    return replace(posed, tilt_axis_deg=Sourced.from_told(truth.told_axis_deg, "mdoc"))


if __name__ == "__main__":
    main()
