"""Programs that were run here, their versions, and how their results compare with the native steps.

The reference page shows it; docs/explanation/benchmarks.md (last section) says how it was measured. A step
that is not listed was never run with its program: a stand-in checks its command line.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MEASURED", "Measurement"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A step's program as it was run."""

    versions: tuple[str, ...]
    difference: str
    """Against the truth of a simulation and the native step, in a few words."""


_IMOD = ("4.8.2 (public sources of 2014)",)

MEASURED: dict[str, Measurement] = {
    "relion_align_frames": Measurement(
        ("3.1.3",), "frame positions off by 0.19 to 0.22 A rms, native 0.06 to 0.07 A"
    ),
    "relion_postprocess": Measurement(
        ("3.1.3",), "states the resolution at which its own masked curve falls to 0.143, within a shell"
    ),
    "novactf_reconstruct": Measurement(("1.0",), "correlation with the native tomogram 0.92"),
    "imod_reconstruct": Measurement(
        _IMOD,
        "beads 0.15 voxels or less from their places, mean; phases are flipped as correct_ctf does, "
        "correlation above 0.85 with the same handedness",
    ),
    "imod_align_by_beads": Measurement(
        _IMOD,
        "points off by 0.13 px rms (1.3 A at 10 A); on a simulated session at 6 A by 1.30 A, native 1.22 A",
    ),
    "imod_align_series": Measurement(
        _IMOD, "points off by 1.4 px rms (14 A at 10 A), patches on beads alone"
    ),
    "cryocare_denoise": Measurement(
        ("0.3.0",), "ran through on the processor; trained for 4 batches only, so quality was not compared"
    ),
    "imod_apply_alignment": Measurement(
        _IMOD, "beads lie where the poses say, within 0.08 pixels; images as those of apply_alignment"
    ),
    "imod_bin_series": Measurement(_IMOD, "beads lie where the poses say, within 0.06 binned pixels"),
    "imod_correct_ctf": Measurement(
        _IMOD,
        "correlation with correct_ctf 0.90 away from the axis at 55 degrees, 0.40 with the other handedness",
    ),
    "imod_trim_tomogram": Measurement(_IMOD, "the same voxels and poses as trim_tomogram"),
    "imod_erase_xrays": Measurement(_IMOD, "a hot pixel is replaced by its surroundings"),
}
"""By step."""
