"""Motive lists of STOPGAP and of the Matlab programs before it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.formats.dynamo.table import dynamo_rotations
from cryoloom.formats.picks.motive_list import motive_rotations
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, format_of_file
from cryoloom.formats.picks.volumes import PickVolume
from makers.pick_files import VOLUMES


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
