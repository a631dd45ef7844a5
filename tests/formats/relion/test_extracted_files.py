"""RELION's trajectories move a particle in each tilt as the local alignment moves the image there."""

from __future__ import annotations

from dataclasses import replace

from numpy.testing import assert_allclose

from cryoloom.formats.relion.extracted_files import write_trajectories
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.geometry.projection import project
from cryoloom.model import ImageWarp, ParticleRows
from makers.made_series import aligned, make_series


def test_trajectories_hold_the_local_alignment(tmp_path, rng):
    series = aligned(make_series("TS_01"))
    rows = ParticleRows.of("TS_01", rng.uniform(-60, 60, (3, 3)))
    path = tmp_path / "motion.star"
    assert write_trajectories(path, rows, [series]) is None
    tilts = [
        replace(
            tilt,
            pose=replace(
                tilt.pose, warp=ImageWarp.of_controls(rng.normal(0, 8.0, (4, 4, 2)), (200.0, 160.0))
            ),
        )
        for tilt in series.tilts
        if tilt.pose is not None
    ]
    series = replace(series, tilts=tuple(tilts))
    write_trajectories(path, rows, [series])
    blocks = read_blocks(path)
    assert blocks["general"][0]["rlnParticleNumber"] == 3
    for i, number in enumerate(rows.particle):
        table = blocks[f"TS_01/{number}"]
        assert len(table) == len(series.included)
        for row, tilt in zip(table, series.included, strict=True):
            pose = tilt.pose
            moved = rows.positions_xyz_angstrom[i] + [row[f"rlnOrigin{axis}Angst"] for axis in "XYZ"]
            matrix, shift = pose.matrix[None], [pose.shift_xy_angstrom]
            rigid = project(rows.positions_xyz_angstrom[i : i + 1], matrix, shift)[0]
            # What RELION sees with its rigid pose is what we see with the local one.
            seen = project(moved[None], matrix, shift)[0]
            assert_allclose(seen, rigid + pose.warp.displacement(rigid), atol=1e-4)
