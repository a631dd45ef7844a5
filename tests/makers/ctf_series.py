"""A series that has CTFs, for tests of formats that carry them."""

from __future__ import annotations

import numpy as np

from cryoloom.model import Ctf, Exclusion, Microscope, Sourced, Stack, Tilt, TiltSeries


def series_with_ctfs(
    angles_deg, *, handedness: float | None = None, phase_shift_deg: float = 0.0, excluded: int | None = None
) -> TiltSeries:
    """Sections in the order given, exposures by size of the angle; the ``excluded`` section has no CTF."""
    angles = np.asarray(angles_deg, dtype=float)
    order = np.argsort(np.argsort(np.abs(angles), kind="stable"), kind="stable")
    tilts = [
        Tilt(
            int(order[i]),
            float(angle),
            3.0 * order[i],
            3.0 * order[i] + 3.0,
            section=i,
            exclusion=Exclusion.by_user("dark") if i == excluded else None,
            ctf=None
            if i == excluded
            else Ctf(
                30000.0 + 40 * i, 29500.0 + 30 * i, -80.0 + 25 * i, phase_shift_deg, 6.0 + 0.5 * i, 0.25
            ),
        )
        for i, angle in enumerate(angles)
    ]
    return TiltSeries(
        "TS_01",
        Microscope(),
        2.7,
        tuple(sorted(tilts, key=lambda tilt: tilt.nominal_tilt_deg)),
        handedness=Sourced.from_told(handedness, "user"),
        stack=Stack(np.zeros((len(angles), 8, 8), np.float32), 2.7),
    )


def assert_same_ctfs(found: dict[int, Ctf], series: TiltSeries, *, to_angstrom: float) -> None:
    """Every CTF is found at its exposure; an excluded tilt has none, or one that says it is borrowed."""
    for tilt in series.tilts:
        ctf = found.get(tilt.acquisition_index)
        if tilt.ctf is None:
            assert ctf is None or ctf.predicted or ctf.score == 0.0
            continue
        assert ctf is not None
        np.testing.assert_allclose(
            (ctf.defocus_u_angstrom, ctf.defocus_v_angstrom),
            (tilt.ctf.defocus_u_angstrom, tilt.ctf.defocus_v_angstrom),
            atol=to_angstrom,
        )
        turned = (ctf.astigmatism_angle_deg - tilt.ctf.astigmatism_angle_deg + 90) % 180 - 90
        assert abs(turned) < 0.006
        assert abs(ctf.phase_shift_deg - tilt.ctf.phase_shift_deg) < 0.006
