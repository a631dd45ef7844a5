"""What an export hands over of particles: refined ones in the place of the picks they were made from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.engine.exporting import exportable, parts_behind, write_particle_files
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS
from cryoloom.formats.picks.volumes import PickVolume
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles, Tomogram, no_resolution
from cryoloom.store.records import ItemRecord
from makers.made_series import make_series


def particle_set(name, n):
    rows = ParticleRows.of(name, [[float(i), 0.0, 0.0] for i in range(n)])
    return Particles(name, ArrayTable(rows.columns()), series=(replace(make_series(name), name=name),))


def test_refined_particles_take_the_place_of_the_picks_of_their_series():
    picks = [particle_set("TS_01", 5), particle_set("TS_02", 4)]
    refined = [particle_set("TS_01", 3)]
    pairs, particles, averages = exportable(picks, refined)
    assert [(one.name, one.n_particles) for one in particles] == [("TS_01", 3), ("TS_02", 4)]
    assert [series.name for series, _ in pairs] == ["TS_01", "TS_02"]
    assert averages == []


def test_further_outputs_of_other_kinds_change_nothing():
    picks = [particle_set("TS_01", 5)]
    _, particles, _ = exportable(picks, [make_series("TS_01")])
    assert [one.n_particles for one in particles] == [5]
    assert exportable([], [])[1] == []


def test_particles_alone_are_written_and_what_is_lost_is_reported(tmp_path, rng):
    series = replace(make_series("TS_01"), pixel_size_angstrom=2.0)
    tomogram = Tomogram(series, np.zeros((40, 60, 50), np.float32), 10.0)
    rows = ParticleRows.of("TS_01", rng.uniform(-100, 100, (3, 3)), tube=np.array([1, 1, 2]))
    particles = Particles(
        "TS_01", ArrayTable(rows.columns()), (series,), (tomogram,), pose_doubt="shells do not tell"
    )
    for name, pixel in (("dynamo", 10.0), ("emclarity", 2.0)):
        files, notes, names = write_particle_files(name, [particles], tmp_path / name)
        assert names == ("TS_01",)
        assert "numbers of filaments" in notes[-1]
        assert notes[1] == no_resolution("shells do not tell")
        assert notes[0] == f"TS_01: coordinates are in voxels of {pixel:g} A"
        shape = tuple(round(n * 10.0 / pixel) for n in (40, 60, 50))
        found = PARTICLE_FORMATS[name].read(files[0], {"TS_01": PickVolume(shape, pixel)})
        assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom, atol=1e-3)
    with pytest.raises(UserInputError, match="no particles to export"):
        write_particle_files("dynamo", [], tmp_path)


def record(id, run_id, name, **more):
    return ItemRecord(run_id, name, f"key{id}", "done", id=id, **more)


REFINED = record(1, 10, "all")
PARTS = [
    record(2, 10, "TS_1", part_of=1, output="particles"),
    record(3, 10, "TS_2", part_of=1, output="particles"),
]
JUDGED = record(4, 11, "all", input_item_id=1)
ITEMS = [REFINED, *PARTS, JUDGED]
DATABASE = SimpleNamespace(
    items=lambda run_id: [item for item in ITEMS if item.run_id == run_id],
    item_without_value=lambda item_id: next(item for item in ITEMS if item.id == item_id),
)
AVERAGE = Average("all", np.zeros((4, 4, 4), np.float32), 2.0)


def test_an_average_has_the_particles_it_was_made_with():
    assert parts_behind(DATABASE, REFINED, AVERAGE) == PARTS


def test_an_average_judged_later_has_them_too():
    assert parts_behind(DATABASE, JUDGED, AVERAGE) == PARTS


def test_other_results_have_only_their_own():
    assert parts_behind(DATABASE, JUDGED, object()) == []


def test_a_project_as_cets_holds_series_and_particles(tmp_path, rng, monkeypatch):
    folder = tmp_path / "raw data"
    folder.mkdir()
    write_mrc(folder / "TS_01.mrc", rng.normal(100, 10, (5, 16, 24)).astype(np.float32), 2.0)
    (folder / "TS_01.rawtlt").write_text("-6\n-3\n0\n3\n6\n")
    project = Project.create(tmp_path / "project")
    project.run("import_tilt_series", stack=str(folder), dose_per_tilt_per_angstrom2=3.0, scheme="ascending")
    made = project.export("cets", tmp_path / "series")
    assert {path.name for path in made.files} == {"TS_01.mrc", "TS_01_cets.json"}
    # Particles beside the series they are of.
    (item,) = project.database.items(project.find_run("import_tilt_series").id)
    series = project.value(item)
    tomogram = Tomogram(series, np.zeros((8, 16, 24), np.float32), 2.0)
    rows = ParticleRows.of("TS_01", rng.uniform(-5, 5, (3, 3)))
    picked = Particles("TS_01", ArrayTable(rows.columns()), (series,), (tomogram,))
    monkeypatch.setattr(Project, "value", lambda self, item: picked)
    made = project.export("cets", tmp_path / "both")
    assert "TS_01_points.json" in {path.name for path in made.files}
    assert "TS_01_cets.json" in {path.name for path in made.files}
