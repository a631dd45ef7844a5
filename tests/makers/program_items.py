"""What program steps are given in the test that no parameter is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoloom.model import (
    ArrayTable,
    Average,
    GainReference,
    Movie,
    ParticleRows,
    Particles,
    Sourced,
    Stack,
    Tomogram,
)
from makers.made_series import aligned, make_series

__all__ = ["BASES", "USED_BY_THE_STEP", "item_of"]

BASES: dict[str, list[dict]] = {
    "warp_align_frames": [{}, {"eer_dose_per_fraction": 0.5}],
    "aretomo_align_series": [{}, {"estimate_ctf": True}],
    "aretomo_reconstruct": [{}, {"method": "sart"}],
    "aretomo3_reconstruct": [{}, {"method": "sart"}],
    "isonet_denoise": [{"box_px": 32, "prediction_px": 600}],
    "membrain_segment_membranes": [{"weights": "/data/model.ckpt"}],
    "xmipp_align_frames": [{}, {"local_motion": True}],
    "gctf_estimate_ctf": [
        {"phase_shift_min_deg": 1.0, "phase_shift_max_deg": 170.0, "phase_shift_step_deg": 10.0}
    ],
    "imod_estimate_ctf": [{}, {"find_phase_shift": True}],
    "imod_reconstruct": [{}, {"ctf_correction": True}],
    "imod_apply_alignment": [{"binning": 2}],
    "imod_trim_tomogram": [{"thickness_angstrom": 32.0, "length_angstrom": 64.0, "width_angstrom": 64.0}],
    "relion_initial_model": [{"symmetry": "C6"}],
    "relion_postprocess": [{}, {"b_factor_angstrom2": -50.0}],
    "motioncor_align_frames": [{}, {"dose_weight_frames": True}],
    "ctffind_estimate_ctf": [
        {"find_thickness": True},
        {"phase_shift_min_rad": 0.0, "phase_shift_max_rad": 3.1, "phase_shift_step_rad": 0.5},
    ],
}
"""Parameters under which others count: each must reach the program under one of them."""

USED_BY_THE_STEP: dict[str, tuple[str, ...]] = {
    "aretomo3_align_series": ("images", "centre_specimen"),
    "aretomo_align_series": ("images", "centre_specimen"),
    "aretomo_reconstruct": ("images", "multiscale"),
    "novactf_reconstruct": ("multiscale",),
    "eman2_reconstruct": ("multiscale",),
    "aretomo3_reconstruct": ("images", "multiscale"),
    "isonet_denoise": ("multiscale",),
    "membrain_segment_membranes": ("spacing_angstrom", "species", "min_area_angstrom2"),
    "tomo3d_reconstruct": ("multiscale",),
    "cryocare_denoise": ("multiscale",),
    "imod_align_by_beads": ("images", "centre_specimen"),
    "imod_align_series": ("images", "centre_specimen"),
    "relion_reconstruct_particle": ("diameter_angstrom",),
    "warp_reconstruct": ("multiscale",),
    "warp_pick_by_template": ("template", "species"),
    "imod_reconstruct": ("images", "centre_height_angstrom", "multiscale"),
}
"""Settings that change no call: what the step itself does by them has a test of its own."""


def item_of(step, n_tilts=5):
    """An item of the kind a step needs, with all that its calls can ask for."""
    series = aligned(make_series(n_tilts=n_tilts, shape_yx=(64, 48), step_deg=min(3.0, 110.0 / n_tilts)))
    changes = {
        tilt.acquisition_index: {
            "movie": Movie(Path(f"/data/{tilt.section}.eer"), 300, (64, 48)),
            "nominal_defocus_angstrom": 40000.0,
        }
        for tilt in series.tilts
    }
    images = series.stack.images
    stack = Stack(images, 2.0, images, images)
    gain = GainReference(Path("/data/gain.mrc"))
    whole = replace(
        series.with_tilts(changes),
        gain=gain,
        stack=stack,
        weighted=Stack(images, 4.0, images, images),
        handedness=Sourced.from_told(1.0, "user"),
    )
    volume = np.zeros((24, 64, 48), np.float32)
    tomogram = Tomogram(whole, volume, 8.0, volume, volume)
    if step.needs is Average:
        cube = np.zeros((8, 8, 8), np.float32)
        return Average("all", cube, 4.0, half1=cube, half2=cube)
    if step.needs is Particles:
        rows = ParticleRows.of(whole.name, np.zeros((3, 3)))
        table = ArrayTable(rows.columns())
        particles = Particles(whole.name, table, (whole,), (tomogram,), diameter_angstrom=120.0)
        return (particles,) if step.gathers else particles
    return tomogram if step.needs is Tomogram else whole
