"""The scripts are run with programs that record what they are given; places against known truth."""

from __future__ import annotations

import os
import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.geometry.orientation_grid import z_axis_to
from cryoloom.web.other_programs.scene import PlacedSet, Scene
from cryoloom.web.other_programs.scripts import (
    chimerax_script,
    command_for_3dmod,
    napari_script,
    safe_file_name,
)

SIZE = 12.5
SHAPE = (20, 31, 40)
BRIGHT_ZYX = ((5, 7, 30), (14, 25, 3))
DIRECTIONS = np.array([[0.0, 0.6, 0.8], [-1.0, 0.0, 0.0]])
HOSTILE = 'TS"5" \\ """; import os; os.remove("x") {scene}'


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Two bright voxels, a particle on each."""
    values = np.zeros(SHAPE, np.float32)
    for at in BRIGHT_ZYX:
        values[at] = 1.0
    write_mrc(tmp_path / "tomogram.mrc", values, SIZE, kind="volume")
    write_mrc(tmp_path / "map.mrc", np.zeros((8, 8, 8), np.float32), 4.0, kind="volume")
    positions = [
        [(i - n // 2) * SIZE for i, n in zip(at[::-1], SHAPE[::-1], strict=True)] for at in BRIGHT_ZYX
    ]
    sets = (
        PlacedSet(HOSTILE, np.array(positions)),
        PlacedSet("spike", np.array(positions), z_axis_to(DIRECTIONS), 100.0, tmp_path / "map.mrc"),
    )
    return Scene(HOSTILE, tmp_path / "tomogram.mrc", SHAPE, SIZE, sets)


class NotedLayers:
    """Stands for napari's viewer."""

    def __init__(self, title: str) -> None:
        self.title, self.layers = title, {}
        self.dims = types.SimpleNamespace(set_point=lambda axis, value: None)

    def add_image(self, data: Any, name: str, scale: Any) -> None:
        self.layers["image"] = (np.asarray(data), scale)

    def add_points(self, data: Any, name: str, **_: Any) -> None:
        self.layers[name] = np.asarray(data)

    def add_vectors(self, data: Any, name: str, **_: Any) -> None:
        self.layers[name] = np.asarray(data)


def test_napari_puts_points_on_the_bright_voxels(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewers: list[NotedLayers] = []

    def viewer(title: str) -> NotedLayers:
        viewers.append(NotedLayers(title))
        return viewers[-1]

    napari = types.SimpleNamespace(Viewer=viewer, run=lambda: None)
    mrcfile = types.SimpleNamespace(
        mmap=lambda path, permissive: types.SimpleNamespace(data=MrcPixels(path)[:])
    )
    monkeypatch.setitem(sys.modules, "napari", napari)
    monkeypatch.setitem(sys.modules, "mrcfile", mrcfile)
    script = tmp_path / "script.py"
    script.write_text(napari_script(scene))
    runpy.run_path(str(script))
    (shown,) = viewers
    assert shown.title == HOSTILE
    image, scale = shown.layers["image"]
    for name in (HOSTILE, "spike"):
        for point in shown.layers[name]:
            assert image[tuple((point / np.array(scale)).round().astype(int))] == 1.0
    vectors = shown.layers["spike z"]
    assert_allclose(vectors[:, 0], shown.layers["spike"])
    assert_allclose(vectors[:, 1] / 100.0, DIRECTIONS[:, ::-1], atol=1e-4)


def test_chimerax_puts_arrows_and_maps_where_the_particles_are(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The centre of the volume goes to the origin; blue arrows are z axes, and maps are turned alike."""
    commands: list[str] = []
    bild: list[str] = []
    models: list[Any] = []

    def run(session: str, command: str) -> list[Any]:
        assert session == "the session"
        commands.append(command)
        if command.startswith("open") and ".bild" in command:
            path = Path(command.removeprefix("open ").strip('"'))
            assert os.path.basename(path)[0] != "-"
            bild.append(path.read_text())
        models.append(types.SimpleNamespace(id_string=str(len(models) + 1), positions=None))
        return [models[-1]]

    geometry = types.SimpleNamespace(Places=lambda place_array: place_array)
    for name, module in (
        ("chimerax", types.ModuleType("chimerax")),
        ("chimerax.core", types.ModuleType("chimerax.core")),
        ("chimerax.core.commands", types.SimpleNamespace(run=run)),
        ("chimerax.geometry", geometry),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    script = tmp_path / "script.py"
    script.write_text(chimerax_script(scene, {tmp_path / "map.mrc": (4, 4, 4)}))
    runpy.run_path(str(script), {"session": "the session"})
    assert commands[0] == f'open "{tmp_path / "tomogram.mrc"}"'
    assert commands[1:3] == ["volume #1 voxelSize 12.5", "volume #1 originIndex 20,15,10"]
    positions = scene.sets[1].positions_xyz_angstrom
    spheres = re.findall(r"\.sphere (\S+) (\S+) (\S+)", bild[0])
    assert_allclose(np.array(spheres, float), positions)
    blue = re.findall(r"\.color blue\n\.arrow (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) ", bild[1])
    arrows = np.array(blue, float)
    assert_allclose(arrows[:, :3], positions)
    assert_allclose((arrows[:, 3:] - arrows[:, :3]) / 100.0, DIRECTIONS, atol=1e-3)
    (placed,) = [model.positions for model in models if model.positions is not None]
    assert placed.shape == (2, 3, 4)
    assert placed.dtype == np.float64
    assert_allclose(placed[:, :, 3], positions)
    assert_allclose(placed[:, :, 2], DIRECTIONS, atol=1e-4)
    assert any(command.endswith("originIndex 4,4,4") for command in commands)


def test_names_of_files_are_safe_and_commands_quoted(scene: Scene) -> None:
    assert safe_file_name('<b>TS "5"</b>/../x') == "b-TS-5-b-..-x"
    assert safe_file_name("///") == "tomogram"
    odd = Scene("TS", Path("/data/my series/t.mrc"), SHAPE, SIZE)
    assert command_for_3dmod(odd, "TS.mod") == "3dmod '/data/my series/t.mrc' TS.mod"
