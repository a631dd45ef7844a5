import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.formats.pixels.movie import describe_movie, open_movie
from cryoloom.simulate.camera import gain_as_filed, make_camera
from cryoloom.simulate.session import SimulationParams, simulate_session, simulate_tilt_series
from cryoloom.simulate.truth import Truth

SMALL = {
    "image_shape_yx": (160, 200), "tilt_min_deg": -30, "tilt_max_deg": 30, "tilt_step_deg": 30,
    "n_particles": 6, "n_vesicles": 1, "n_beads": 3, "crowd_phase_rad": 0.0,
    "n_dead_pixels": 5, "n_hot_pixels": 2,
}  # fmt: skip


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_series_in_memory_has_the_dose_it_should():
    params = SimulationParams(**{**SMALL, "n_beads": 0, "n_particles": 0, "n_vesicles": 0, "n_membranes": 0})
    series, truth = simulate_tilt_series(params)
    assert [t.nominal_tilt_deg for t in series.tilts] == [-30, 0, 30]
    assert [t.acquisition_index for t in series.tilts] == [2, 0, 1]
    assert series.tilt_axis_deg.applied == pytest.approx(truth.tilt_axis_deg + 1.5)
    for section, tilt in enumerate(series.tilts):
        expected = 3.0 * 25.0 * truth.tilt(tilt.acquisition_index).transmission
        # Poisson of 32000 pixels: 0.1 %; the ice's contrast adds as much.
        assert series.stack.images[section].mean() == pytest.approx(expected, rel=0.005)


def test_protein_is_dark():
    params = SimulationParams(**{**SMALL, "n_beads": 0, "n_particles": 0, "n_vesicles": 0, "n_membranes": 0})
    empty, _ = simulate_tilt_series(params)
    full, _ = simulate_tilt_series(params.model_copy(update={"n_particles": 60}))
    assert full.stack.images[1].mean() < empty.stack.images[1].mean()


def test_true_poses_and_ctfs_are_put_on_tilts():
    series, truth = simulate_tilt_series(SimulationParams(**SMALL))
    known = truth.with_true_ctfs(truth.with_true_poses(series))
    assert known.tilts[0].pose == truth.tilt(2).pose
    assert known.tilts[0].ctf == truth.tilt(2).ctf


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Folder, truth and parameters of two series."""
    folder = tmp_path_factory.mktemp("session")
    params = SimulationParams(**SMALL, n_series=2)
    reported = []
    truth = simulate_session(params, folder, progress=lambda done, total: reported.append((done, total)))
    assert reported == [(i, 6) for i in range(1, 7)]
    return folder, truth, params


def test_the_same_seed_gives_the_same_files_bit_by_bit(session, tmp_path):
    folder, _, params = session
    simulate_session(params, tmp_path / "again")
    one = contents(folder)
    assert contents(tmp_path / "again") == one
    simulate_session(params.model_copy(update={"seed": 2}), tmp_path / "other")
    other = contents(tmp_path / "other")
    assert other.keys() == one.keys()
    assert all(other[name] != one[name] for name in one)


def test_session_on_disk(session):
    tmp_path, truth, params = session
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "TS_01.mrc.mdoc", "TS_02.mrc.mdoc", "frames", "gain.mrc", "truth.json", "truth_TS_02.json",
    ]  # fmt: skip
    back = Truth.load(tmp_path / "truth.json")
    assert back.tilts == truth.tilts
    assert_allclose(back.beads_xyz_angstrom, truth.beads_xyz_angstrom, atol=1e-3)
    assert not np.allclose(
        Truth.load(tmp_path / "truth_TS_02.json").tilts[0].shift_xy_angstrom, truth.tilts[0].shift_xy_angstrom
    )
    path = tmp_path / "frames" / "TS_01_000_0.0.tif"
    movie = open_movie(describe_movie(path))
    assert (movie.n_frames, movie.shape_yx) == (8, (160, 200))
    camera = make_camera(params, np.random.default_rng([params.seed, 0, 2]))
    corrected = movie.read_sum(0, 8) * camera.gain
    good = camera.gain > 0
    assert corrected[good].mean() == pytest.approx(75.0 * truth.tilts[0].transmission, rel=0.05)
    for y, x in truth.gain.dead_pixels_yx:
        assert movie.read_sum(0, 8)[y, x] == 0
    for y, x in truth.gain.hot_pixels_yx:
        if good[y, x]:
            assert movie.read_sum(0, 8)[y, x] > 200
    # The gain makes the image flatter: its file is worth applying.
    assert corrected[good].std() < 0.97 * movie.read_sum(0, 8)[good].std()
    # Rows are the right way up: the movie looks like the same tilt made in memory, not like its mirror image.
    series, _ = simulate_tilt_series(params)
    still = series.stack.images[1]
    same, mirrored = (
        np.corrcoef((corrected * good).ravel(), image.ravel())[0, 1] for image in (still, still[::-1])
    )
    assert same > mirrored + 0.2


def test_mdoc_is_read_back(session):
    mdoc = pytest.importorskip("cryoloom.formats.session.mdoc")
    assert mdoc.read_mdoc(session[0] / "TS_01.mrc.mdoc") is not None


def test_falcon_session(tmp_path):
    params = SimulationParams(
        **{**SMALL, "image_shape_yx": (96, 128), "tilt_step_deg": 60, "n_hot_pixels": 0},
        camera="falcon_eer", pixel_size_angstrom=3.0, eer_raw_frames=64,
    )  # fmt: skip
    truth = simulate_session(params, tmp_path)
    files = sorted((tmp_path / "frames").glob("*.eer"))
    assert len(files) == len(truth.tilts)
    movie = open_movie(describe_movie(files[0]))
    assert movie.n_frames == 64
    expected = 27.0 * truth.tilts[0].transmission
    # A pixel counts one electron a frame at most: about half the mean per frame is lost.
    assert expected * 0.7 < movie.read_sum(0, 64).mean() < expected
    assert (tmp_path / "reference.gain").is_file()
    assert (tmp_path / "TS_01.mdoc").is_file()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flip", ["none", "upside_down", "left_right"])
def test_gain_file_is_oriented_as_asked(turns, flip, rng):
    params = SimulationParams(**SMALL, gain_quarter_turns=turns, gain_flip=flip)
    camera = make_camera(params, rng)
    # numpy turns counter-clockwise what is displayed with row 0 at the top.
    oriented = gain_as_filed(camera)
    for _ in range(turns):
        oriented = np.flipud(np.rot90(np.flipud(oriented)))
    if flip == "upside_down":
        oriented = np.flipud(oriented)
    elif flip == "left_right":
        oriented = np.fliplr(oriented)
    assert_array_equal(oriented, camera.gain)


def test_dark_tilts_are_dark():
    series, truth = simulate_tilt_series(SimulationParams(**SMALL, dark_tilts=(1,)))
    assert truth.tilt(1).flaw == "dark"
    assert series.stack.images[2].mean() < 0.1 * series.stack.images[1].mean()
