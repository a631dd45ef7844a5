"""What align_frames leaves of X-ray hits, and what erase_xrays then finds.

Simulated movies (512 x 512 at 2.7 A, 8 frames, 5 hits a frame of 40 to 250 counts). A hit is left where the
sum is still more than 6 standard deviations above its mean.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from cryoloom.simulate.parameters import SimulationParams
from cryoloom.steps.align_frames import AlignFramesParams, align_frames
from cryoloom.steps.erase_xrays import EraseXraysParams, erase_xrays

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext
from makers.simulated_movies import FLAWLESS_CAMERA, simulated_movies


def main() -> None:
    params = SimulationParams(
        image_shape_yx=(512, 512), pixel_size_angstrom=2.7, tilt_min_deg=-30, tilt_max_deg=30,
        tilt_step_deg=30, n_beads=4, **{**FLAWLESS_CAMERA, "xrays_per_frame": 5.0},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        series, truth = simulated_movies(Path(folder), params)
        aligned = align_frames(series, AlignFramesParams(), MemoryContext())  # type: ignore[arg-type]
    for when in ("after align_frames", "after erase_xrays"):
        n_hits = n_left = 0
        for tilt in aligned.tilts:
            image = np.asarray(aligned.stack.images[tilt.section])  # type: ignore[union-attr, index]
            limit = image.mean() + 6 * image.std()
            for frame, y, x in truth.tilt(tilt.acquisition_index).xrays:
                shift = np.array(tilt.frame_shifts_yx_angstrom[frame]) / params.pixel_size_angstrom
                cy, cx = (round(v) for v in np.array((y, x)) - shift)
                near = image[max(cy - 2, 0) : cy + 3, max(cx - 2, 0) : cx + 3]
                n_hits += 1
                n_left += bool(near.size and near.max() > limit)
        print(f"{when:20s} {n_left} of {n_hits} hits are left")
        if when == "after align_frames":
            context = MemoryContext()
            aligned = erase_xrays(aligned, EraseXraysParams(), context)  # type: ignore[arg-type]
            print(
                f"erase_xrays replaces {context.figures['xray_pixels_per_megapixel']:.0f} pixels in a million"
            )


if __name__ == "__main__":
    main()
