"""What pages read of a project: series with their decisions, images by role, and what is not there."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.store.decisions import Author, Change
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.project_view import ProjectView, image_roles
from makers.web_project import (
    HOSTILE,
    NAMES,
    PARAMS,
    VOLUME_SHAPE,
    MadeProject,
    add_average,
    add_particles,
)


@pytest.fixture(scope="module")
def project(made: MadeProject, tmp_path_factory: pytest.TempPathFactory):
    shelf = ImageShelf(tmp_path_factory.mktemp("levels"))
    view = ProjectView(made.folder, "session", shelf)
    yield view
    view.close()
    shelf.close()


def test_every_series_is_there_with_its_steps_and_its_failure(project: ProjectView) -> None:
    assert set(project.series_names()) == set(NAMES)
    good, failed = project.series("TS_01"), project.series(HOSTILE)
    assert [run.node for run, _ in good.steps][-1] == "reconstruct"
    assert good.failure is None
    assert failed.failure == ("align_series", "no tilt within 10 deg of zero is left")
    assert good.figure("tilt_axis") == pytest.approx(85.3)
    assert good.record("no such drawing") is None
    assert good.maker_of("ctf_curves").step == "estimate_ctf"
    assert project.status_text() == "28 done, 1 failed"


def test_decisions_change_the_value_and_not_what_was_found(project: ProjectView) -> None:
    before = project.signatures()
    project.decide([Change("tilt", "TS_01", "4", {"keep": False})], Author("anna", "owner", "web"), "ice")
    view = project.series("TS_01")
    assert [tilt.acquisition_index for tilt in view.series.tilts if tilt.is_excluded] == [4]
    assert not any(tilt.is_excluded for tilt in view.found.tilts)
    assert view.overridden == {4}
    changed = {name for name, one in project.signatures().items() if before[name] != one}
    assert changed == {"TS_01"}
    project.undo(Author("anna", "owner", "web"))
    assert not project.series("TS_01").overridden
    project.redo(Author("anna", "owner", "web"))
    assert project.series("TS_01").overridden == {4}
    project.undo(Author("anna", "owner", "web"))
    with pytest.raises(UserInputError, match="nothing to redo: your last decision was no undo"):
        project.redo(Author("berta", "owner", "web"))


def test_images_are_found_by_item_and_role(project: ProjectView) -> None:
    view = project.series("TS_01")
    assert view.stack_roles() == ("stack.images",)
    assert project.image(view.series_item, "stack.images").kind == "stack"
    at = view.tomograms[-1]
    volume = project.image(at.item.id, "volume")
    assert (volume.kind, volume.shape, volume.pixel_size_angstrom) == (
        "volume", VOLUME_SHAPE, PARAMS.pixel_size_angstrom
    )  # fmt: skip
    assert image_roles(at.tomogram) == ("volume",)
    with pytest.raises(UserInputError, match=r"this result has no image 'volume\.secret'"):
        project.image(at.item.id, "volume.secret")
    with pytest.raises(UserInputError, match="this project has no result 9999"):
        project.image(9999, "volume")
    picture = project.picture_of(at.run)
    assert project.image(picture.item, picture.role).shape == VOLUME_SHAPE


def test_what_is_not_there_is_one_sentence(project: ProjectView) -> None:
    for ask in (project.series, project.require_series, project.acquisition_indices):
        with pytest.raises(UserInputError, match="this project has no series 'TS_99'"):
            ask("TS_99")
    with pytest.raises(UserInputError, match="this project has no particles"):
        project.particles(1)


def test_the_map_of_particles_is_their_average_or_none(project: ProjectView, made: MadeProject) -> None:
    particles = add_particles(made.folder, made.truths["TS_01"])
    assert project.map_of_particles(particles) is None
    average = add_average(made.folder, particles)
    at = project.map_of_particles(particles)
    assert (at.item, at.role) == (average, "map")
    assert project.image(at.item, at.role).shape == (48, 48, 48)
