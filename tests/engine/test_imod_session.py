"""etomo and 3dmod opened from a run: the files they see, and their results as runs."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.engine.imod_session import open_in_imod
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.formats.imod.model import ImodModel, ImodObject, write_model
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from makers import stand_ins


@pytest.fixture
def project(tmp_path, rng):
    folder = tmp_path / "raw"
    folder.mkdir()
    write_mrc(folder / "TS_01.mrc", rng.normal(100, 10, (5, 32, 48)).astype(np.float32), 10.0)
    (folder / "TS_01.rawtlt").write_text("-20\n-10\n0\n10\n20\n")
    project = Project.create(tmp_path / "p")
    project.run(
        "import_tilt_series", stack=str(folder), dose_per_tilt_per_angstrom2=3.0, scheme="ascending",
        tilt_axis_deg=0.0,
    )  # fmt: skip
    return project


@pytest.fixture
def imod(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no settings"))
    folder = tmp_path / "bin"
    for name in ("etomo", "3dmod"):
        stand_ins.install(folder, name, "")
    monkeypatch.setenv("PATH", str(folder))


def test_an_alignment_made_in_etomo_becomes_a_run(project, imod):
    def align(command, folder):
        assert command[1:] == ["--fg"]
        assert (folder / "TS_01.rawtlt").is_file()
        rows = [f"1 0 0 1 {x:.3f} 0.000\n" for x in (1, 2, 3, 4, 5)]
        (folder / "TS_01.xf").write_text("".join(rows))
        (folder / "TS_01.tlt").write_text("-20.5\n-10.5\n-0.5\n9.5\n19.5\n")
        return 0

    made = open_in_imod(project, "TS_01", "import_tilt_series", start=align)
    assert made.run.n_done == 1
    item = project.database.items(project.find_run("import_alignment").id)[0]
    tilts = project.value(item).tilts
    assert [round(tilt.pose.tilt_deg, 3) for tilt in tilts] == [-20.5, -10.5, -0.5, 9.5, 19.5]
    # The image is moved by x pixels of 10 A, so it shows the specimen at -x.
    steps = np.diff([tilt.pose.shift_xy_angstrom[0] for tilt in tilts])
    np.testing.assert_allclose(steps, -10.0, atol=1e-6)
    again = open_in_imod(project, "TS_01", "import_tilt_series", start=lambda command, folder: 0)
    assert again.run is None  # its files are as they were left
    assert again.folder == made.folder


def test_points_drawn_in_3dmod_become_picks(project, imod):
    project.run("import_alignment", **_aligned(project), input="import_tilt_series")
    project.run("reconstruct", input="import_alignment", device="cpu", binning=2.0, thickness_angstrom=160.0,
                multiscale=False)  # fmt: skip

    def draw(command, folder):
        shape = MrcPixels(folder / command[2]).shape
        # IMOD counts x and y from the corner, z from the middle of the first section.
        z, y, x = (n // 2 for n in shape)
        point = np.array([[x + 0.5 + 2, y + 0.5, z - 1.0]])
        write_model(folder / command[3], ImodModel(shape, (ImodObject("points", (point,)),), 20.0))
        return 0

    made = open_in_imod(project, "TS_01", "reconstruct", start=draw)
    assert not made.run.failed
    item = project.database.items(project.find_run("pick_by_hand").id)[0]
    np.testing.assert_allclose(
        project.value(item).rows().positions_xyz_angstrom, [[40.0, 0.0, -20.0]], atol=1e-3
    )


def _aligned(project):
    folder = project.folder.parent / "alignment"
    folder.mkdir()
    (folder / "TS_01.xf").write_text("1 0 0 1 0 0\n" * 5)
    (folder / "TS_01.tlt").write_text("-20\n-10\n0\n10\n20\n")
    return {"folder": str(folder), "program": "imod"}


def test_what_cannot_be_opened(project, imod, monkeypatch):
    with pytest.raises(UserInputError, match="has no item 'TS_07'; it has TS_01"):
        open_in_imod(project, "TS_07", "import_tilt_series", start=lambda command, folder: 0)
    with pytest.raises(UserInputError, match="etomo ended with code 3; its files are in"):
        open_in_imod(project, "TS_01", "import_tilt_series", start=lambda command, folder: 3)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserInputError, match="etomo is not found on this machine"):
        open_in_imod(project, "TS_01", "import_tilt_series", start=lambda command, folder: 0)
