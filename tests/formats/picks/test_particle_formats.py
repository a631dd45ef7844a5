"""Every format gives particles back to a thousandth of a pixel, and reads what the other program wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, format_of_file, lost_in
from cryoloom.formats.picks.volumes import PickVolume
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import ParticleRows
from makers.pick_files import VOLUMES, VOXEL, some_particles

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def read_all(name, files):
    """Particles of all files of a format, by tomogram and place."""
    readable = [path for path in files if path.suffix not in (".doc",) and path.name != "tomograms.txt"]
    return ParticleRows.joined([PARTICLE_FORMATS[name].read(path, VOLUMES) for path in readable])


@pytest.mark.parametrize("name", [name for name, one in PARTICLE_FORMATS.items() if one.write])
def test_particles_come_back(tmp_path, rng, name):
    rows = some_particles(rng)
    one = PARTICLE_FORMATS[name]
    files = one.write(tmp_path, rows, VOLUMES)
    assert all(path.is_file() for path in files)
    found = read_all(name, files)
    assert_array_equal(found.tomogram, rows.tomogram)
    atol = 1e-3 * VOXEL
    assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom, atol=atol)
    if "rotations" in one.carries:
        assert_allclose(found.rotations, rows.rotations, atol=2e-5)
    for field in one.carries - {"rotations", "others", "prior_directions", "tube"}:
        assert_allclose(getattr(found, field), getattr(rows, field), atol=1e-5, err_msg=field)
    lost = lost_in(name, rows)
    assert ("rotations" in lost) == ("rotations" not in one.carries)
    assert ("note" in lost) == ("others" not in one.carries)
    first = next(path for path in files if path.suffix != ".doc")
    if name != "relion4":
        assert format_of_file(first) == name
    else:
        assert format_of_file(first) == "relion"


def star_places(path, columns):
    (row,) = next(iter(read_blocks(path).values()))
    return [row[column] for column in columns]


WRITTEN_PLACES = {  # as they stand in the file, and what the first voxel is called
    "stopgap": (lambda path: star_places(path, ["orig_x", "orig_y", "orig_z"]), 1),
    "motl": (lambda path: np.frombuffer(path.read_bytes()[512:], "<f4")[7:10], 1),
    "dynamo": (lambda path: np.loadtxt(path)[23:26], 1),
    "emclarity": (lambda path: np.loadtxt(path)[10:13], 1),
    "text": (np.loadtxt, 0),
    "relion4": (lambda path: star_places(path, [f"rlnCoordinate{axis}" for axis in "XYZ"]), 0),
}


@pytest.mark.parametrize("name", WRITTEN_PLACES)
def test_a_bead_in_the_middle_voxel_is_counted_as_the_program_counts(tmp_path, name):
    places, first = WRITTEN_PLACES[name]
    path = PARTICLE_FORMATS[name].write(tmp_path, ParticleRows.of("TS_17", np.zeros((1, 3))), VOLUMES)[0]
    assert_allclose(places(path), [399 // 2 + first, 400 // 2 + first, 251 // 2 + first])


def test_template_matching_s_star_counts_in_its_own_voxels(tmp_path):
    text = "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n_rlnCoordinateZ #3\n_rlnAngleRot #4\n"
    text += (
        "_rlnAngleTilt #5\n_rlnAnglePsi #6\n_rlnLCCmax #7\n_rlnDetectorPixelSize #8\n_rlnMicrographName #9\n"
    )
    text += "110 120 60 0 0 0 0.31 15.68 TS_17\n99 100 62 0 0 0 0.3 15.68 TS_99\n"
    path = tmp_path / "TS_17_particles.star"
    path.write_text(text)
    found = PARTICLE_FORMATS["relion"].read(path, {"TS_17": VOLUMES["TS_17"]})
    # 399 x 400 x 251 voxels of 7.84 A are 200 x 200 x 126 of 15.68 A.
    assert_allclose(found.positions_xyz_angstrom[0], 15.68 * (np.array([110, 120, 60]) - [100, 100, 63]))
    assert_allclose(found.score, [0.31, 0.3])
    assert np.isnan(found.positions_xyz_angstrom[1]).all()


@pytest.mark.skipif(not (SHARED / "dynamo").is_dir(), reason="real files of Dynamo are not here")
def test_a_real_table_of_dynamo():
    found = PARTICLE_FORMATS["dynamo"].read(
        SHARED / "dynamo" / "t_double.tbl", {"TS_01": PickVolume((400, 1000, 1000), 2.0)}
    )
    assert set(found.tomogram) == {"TS_01", "2"}
    assert_allclose(
        found.positions_xyz_angstrom[0],
        2 * (np.array([143.7978, 111.187, 165.1843]) - [501, 501, 201]),
        atol=1e-6,
    )
