"""Every format gives particles back to a thousandth of a pixel, and reads what the other program wrote."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.dynamo.table import dynamo_rotations
from cryoloom.formats.picks.motive_list import motive_rotations
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, format_of_file, lost_in
from cryoloom.formats.picks.volumes import PickVolume, numbers_of_names
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import ParticleRows

VOXEL = 7.84
# Even and odd sides: the centre is index n // 2 of both.
VOLUMES = {"TS_03": PickVolume((250, 401, 398), VOXEL), "TS_17": PickVolume((251, 400, 399), VOXEL)}
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def some_particles(rng):
    n = 7
    rotations = Rotation.random(n, rng).as_matrix()
    rotations[0] = np.eye(3)
    return ParticleRows(
        tomogram=np.array(["TS_03"] * 4 + ["TS_17"] * 3),
        particle=np.array([1, 2, 3, 4, 11, 12, 13]),
        positions_xyz_angstrom=rng.uniform(-900, 900, (n, 3)),
        rotations=rotations,
        prior_directions=rotations[:, :, 2],
        prior_width_deg=np.full(n, 10.0),
        surface=np.array([1, 1, 2, 2, 1, 1, 3]),
        score=np.round(rng.uniform(0, 1, n), 4),
        half=np.array([1, 2, 1, 2, 1, 2, 1]),
        class_number=np.array([1, 2, 3, 1, 2, 3, 1]),
        others={"note": np.array(list("abcdefg"))},
    )


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


def test_a_table_of_the_project_s_own_loses_nothing(tmp_path, rng):
    rows = some_particles(rng)
    (path,) = PARTICLE_FORMATS["csv"].write(tmp_path, rows, VOLUMES)
    found = PARTICLE_FORMATS["csv"].read(path, VOLUMES).columns()
    for name, values in rows.columns().items():
        assert_array_equal(found[name], values)


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


def test_stopgap_s_own_file(tmp_path):
    # Two lines of cryoCAT's test file class6_er_mr1_1_sg.star, written by STOPGAP.
    names = "motl_idx tomo_num object subtomo_num halfset orig_x orig_y orig_z score x_shift y_shift z_shift "
    names += "phi psi the class"
    text = "\ndata_stopgap_motivelist\n\nloop_\n" + "".join(f"_{name}\n" for name in names.split())
    text += (
        "6.000000\t24.000000\t1.000000\t6.000000\tA\t824.000000\t754.000000\t673.000000\t0.545200\t0.212100"
    )
    text += "\t0.601200\t5.467600\t33.258400\t65.255699\t8.651600\t3\n"
    text += "25.000000\t24.000000\t1.000000\t25.000000\tB\t693.000000\t690.000000\t317.000000\t0.478100"
    text += "\t0.485900\t-0.424200\t-0.003800\t287.675415\t-76.293297\t83.139900\t1\n"
    path = tmp_path / "sg.star"
    path.write_text(text)
    assert format_of_file(path) == "stopgap"
    found = PARTICLE_FORMATS["stopgap"].read(path, {"TS_24": PickVolume((1000, 1400, 1400), 2.0)})
    assert found.tomogram.tolist() == ["TS_24", "TS_24"]
    assert_allclose(
        found.positions_xyz_angstrom[0], 2 * (np.array([824.2121, 754.6012, 678.4676]) - [701, 701, 501])
    )
    assert found.half.tolist() == [1, 2]
    assert found.class_number.tolist() == [3, 1]
    # phi about z first, then theta about x, then psi about z, about fixed axes.
    expected = Rotation.from_euler("zxz", [33.2584, 8.6516, 65.255699], degrees=True).as_matrix()
    assert_allclose(found.rotations[0], expected, atol=1e-9)


def test_motive_lists_and_dynamo_s_tables_mean_the_same_turn(rng):
    tdrot, tilt, narot = rng.uniform(-180, 180, 3)
    assert_allclose(
        motive_rotations([[-narot, -tdrot, -tilt]]), dynamo_rotations([[tdrot, tilt, narot]]), atol=1e-12
    )


def test_a_big_endian_motive_list_is_read(tmp_path):
    values = np.zeros(20, ">f4")
    values[[0, 3, 4, 7, 8, 9]] = 0.5, 9, 17, 200, 201, 126
    path = tmp_path / "m.em"
    path.write_bytes(bytes([3, 0, 0, 5]) + struct.pack(">3i", 20, 1, 1) + bytes(496) + values.tobytes())
    found = PARTICLE_FORMATS["motl"].read(path, VOLUMES)
    assert found.tomogram.tolist() == ["TS_17"]
    assert_allclose(found.positions_xyz_angstrom, [[0, 0, 0]])
    path.write_bytes(bytes([6, 0, 0, 2]) + struct.pack("<3i", 64, 64, 64) + bytes(496))
    with pytest.raises(DataUnfitError, match="a motive list has 20 rows"):
        PARTICLE_FORMATS["motl"].read(path, VOLUMES)


def test_emclarity_s_matrix_is_column_after_column(tmp_path):
    turn = Rotation.from_euler("ZXZ", [30, 40, 50], degrees=True).as_matrix()  # about the turned axes
    line = [0.9, 6, 0, 5, 1, 1, 1, 1, 1, 0, 200, 201, 126, 30, 40, 50, *turn.T.ravel(), 1]
    path = tmp_path / "TS_17_2_bin6.csv"
    path.write_text(" ".join(f"{value:.8f}" for value in line) + "\n")
    assert format_of_file(path) == "emclarity"
    found = PARTICLE_FORMATS["emclarity"].read(path, VOLUMES)
    assert found.tomogram.tolist() == ["TS_17"]
    assert_allclose(found.rotations[0], turn, atol=1e-7)
    assert_allclose(found.positions_xyz_angstrom, [[0, 0, 0]])


def test_eman2_counts_from_the_middle_or_the_corner(tmp_path):
    path = tmp_path / "TS_17_info.json"
    boxes = [[10.0, -20.0, 5.0, "manual", 0.7, 1]]
    path.write_text(json.dumps({"apix_unbin": 1.96, "boxes_3d": boxes, "class_list": {}}))
    found = PARTICLE_FORMATS["eman2"].read(path, VOLUMES)
    assert_allclose(found.positions_xyz_angstrom, [[19.6, -39.2, 9.8]])
    path.write_text(json.dumps({"boxes_3d": [[199, 200, 125, "manual", 0.7, 1]]}))
    assert_allclose(PARTICLE_FORMATS["eman2"].read(path, VOLUMES).positions_xyz_angstrom, [[0, 0, 0]])


def test_copick_adds_the_translation_of_the_transformation(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    matrix[:3, 3] = 1.0, 2.0, 3.0
    location = {"x": 199 * VOXEL, "y": 200 * VOXEL, "z": 125 * VOXEL}
    point = {"location": location, "transformation_": matrix.tolist(), "instance_id": 4, "score": 0.25}
    data = {"pickable_object_name": "ribosome", "user_id": "u", "session_id": "1", "run_name": "TS_17"}
    data |= {"voxel_spacing": VOXEL, "unit": "angstrom", "points": [point]}
    path = tmp_path / "u_1_ribosome.json"
    path.write_text(json.dumps(data))
    assert format_of_file(path) == "copick"
    found = PARTICLE_FORMATS["copick"].read(path, VOLUMES)
    assert_allclose(found.positions_xyz_angstrom, [[1.0, 2.0, 3.0]], atol=1e-9)
    assert_allclose(found.rotations[0], matrix[:3, :3])
    path.write_text(json.dumps(data | {"unit": "nanometer"}))
    with pytest.raises(DataUnfitError, match="expected angstrom"):
        PARTICLE_FORMATS["copick"].read(path, VOLUMES)


def test_cets_points_in_a_data_set(tmp_path):
    axes = [{"name": axis, "axis_unit": "pixel", "axis_type": "array"} for axis in "xyz"]
    points = {"origin3D": [[199, 200, 125]], "coordinate_systems": [{"name": "array", "axes": axes}]}
    path = tmp_path / "TS_17.json"
    path.write_text(json.dumps({"name": "set", "regions": [{"annotations": [points, {"path": "x"}]}]}))
    assert format_of_file(path) == "cets"
    found = PARTICLE_FORMATS["cets"].read(path, VOLUMES)
    assert_allclose(found.positions_xyz_angstrom, [[0, 0, 0]])
    path.write_text(json.dumps({"something": 1}))
    with pytest.raises(UserInputError, match="expected EMAN2's"):
        format_of_file(path)


def test_scipion_s_matrix_moves_the_coordinate(tmp_path):
    """As scipion-em-dynamo stores a Dynamo particle: R from its angles, t = -R times its shift."""
    scipion = Rotation.from_euler("zxz", [20, 70, -35], degrees=True).as_matrix()
    shift = np.array([1.0, -2.0, 0.5])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scipion, -scipion @ shift
    path = tmp_path / "coordinates.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE Properties (key TEXT, value TEXT)")
        database.execute("INSERT INTO Properties VALUES ('_samplingRate', '5.4')")
        database.execute(
            "CREATE TABLE Classes (id INTEGER, label_property TEXT, column_name TEXT, class_name TEXT)"
        )
        names = ["_x", "_y", "_z", "_eulerMatrix._matrix", "_groupId", "_tomoId"]
        for i, name in enumerate(names):
            database.execute("INSERT INTO Classes VALUES (?, ?, ?, '')", (i, name, f"c{i:02d}"))
        database.execute("CREATE TABLE Objects (id INTEGER, enabled INTEGER, c00, c01, c02, c03, c04, c05)")
        values = (3, 1, 10.0, 20.0, -30.0, json.dumps(matrix.tolist()), 2, "TS_17")
        database.execute("INSERT INTO Objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    database.close()
    found = PARTICLE_FORMATS["scipion"].read(path, VOLUMES)
    assert found.tomogram.tolist() == ["TS_17"]
    assert_allclose(found.positions_xyz_angstrom, [(np.array([10.0, 20.0, -30.0]) + shift) * 5.4])
    assert_allclose(found.rotations[0], dynamo_rotations([[20, 70, -35]])[0], atol=1e-12)
    assert found.surface.tolist() == [2]
    path.write_bytes(b"no database at all" * 40)
    with pytest.raises(DataUnfitError, match="cannot be read as a set of Scipion"):
        PARTICLE_FORMATS["scipion"].read(path, VOLUMES)


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


def test_numbers_of_tomograms_are_those_of_their_names():
    assert numbers_of_names(["TS_17", "TS_03"]) == {"TS_03": 3, "TS_17": 17}
    assert numbers_of_names(["a", "b_2"]) == {"a": 1, "b_2": 2}
    assert numbers_of_names(["x_1", "y_1"]) == {"x_1": 1, "y_1": 2}
