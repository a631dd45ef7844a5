"""A folder that grows: what is whole, what is not yet, and what survives a server's moods."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile

from cryoloom.engine.live.watched_folder import COMPLETE_SETTLE_SECONDS, MISSING, WRITTEN, WatchedFolder
from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.steps.import_movies import ImportMoviesParams

SETTLE_SECONDS = 10.0


def movie_bytes(tmp_path, n_frames=4, suffix=".tif"):
    path = tmp_path / f"source{suffix}"
    frames = np.arange(n_frames * 20 * 30, dtype=np.uint8).reshape(n_frames, 20, 30)
    if suffix == ".mrc":
        write_mrc(path, frames.astype(np.float32), 2.0)
    else:
        with tifffile.TiffWriter(path) as writer:
            for frame in frames:
                writer.write(frame, contiguous=False, metadata=None)
    raw = path.read_bytes()
    path.unlink()
    return raw


def section(i, movie, n_frames=4):
    return (
        f"[ZValue = {i}]\nTiltAngle = {3 * i}\nExposureDose = 3\nSubFramePath = D:\\frames\\{movie}\n"
        f"NumSubFrames = {n_frames}\nDateTime = 24-Mar-2023 12:{i:02d}:00\n\n"
    )


HEADER = "PixelSpacing = 2\nVoltage = 300\n\n"


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def watched(raw, **params):
    lenient = {"leave_out_missing": True, **params}
    return WatchedFolder(ImportMoviesParams(directory=raw, **lenient), SETTLE_SECONDS)


def only(folder, now):
    (one,) = folder.look(now)
    return one


@pytest.mark.parametrize("suffix", [".tif", ".mrc"])
def test_a_movie_counts_when_it_is_whole_and_at_rest(tmp_path, raw, suffix):
    whole = movie_bytes(tmp_path, suffix=suffix)
    (raw / "TS_01.mdoc").write_text(HEADER + section(0, f"a{suffix}") + section(1, f"b{suffix}"))
    movie, folder = raw / f"a{suffix}", watched(raw)
    assert only(folder, 0.0).unfinished == {f"a{suffix}": MISSING, f"b{suffix}": MISSING}
    for i, n in enumerate((10, len(whole) // 2, len(whole) - 1)):
        movie.write_bytes(whole[:n])
        assert only(folder, 100.0 * i).unfinished[movie.name] == WRITTEN
        at_rest = only(folder, 100.0 * i + SETTLE_SECONDS)
        assert not at_rest.whole
        assert any(word in at_rest.unfinished[movie.name] for word in ("truncated", "too short"))
    movie.write_bytes(whole)
    assert only(folder, 400.0).unfinished[movie.name] == WRITTEN
    done = only(folder, 400.0 + SETTLE_SECONDS)
    assert done.whole == {movie}
    assert [size for _, size in folder.arrivals().files] == [len(whole)]
    assert folder.arrivals().last() == movie.stat().st_mtime_ns / 1e9
    assert done.unfinished == {f"b{suffix}": MISSING}
    assert done.quiet_seconds == SETTLE_SECONDS


def test_with_all_frames_of_its_mdoc_three_seconds_at_rest_are_enough(tmp_path, raw):
    whole = movie_bytes(tmp_path, n_frames=4)
    (raw / "TS_01.mdoc").write_text(HEADER + section(0, "a.tif", 4) + section(1, "b.tif", 5))
    folder = watched(raw)
    (raw / "a.tif").write_bytes(whole)
    (raw / "b.tif").write_bytes(whole)  # a frame is still to come
    assert not only(folder, 0.0).whole
    assert not only(folder, COMPLETE_SETTLE_SECONDS - 0.1).whole
    assert only(folder, COMPLETE_SETTLE_SECONDS).whole == {raw / "a.tif"}
    assert only(folder, COMPLETE_SETTLE_SECONDS).unfinished == {"b.tif": WRITTEN}
    assert only(folder, SETTLE_SECONDS).unfinished == {"b.tif": "b.tif has 4 of 5 frames"}


def test_room_taken_before_it_is_filled_is_no_movie(tmp_path, raw):
    whole = movie_bytes(tmp_path)
    (raw / "TS_01.mdoc").write_text(HEADER + section(0, "a.tif"))
    folder = watched(raw)
    for filled in (0, 100, len(whole) // 2):  # of the last pixels nothing but rest tells
        (raw / "a.tif").write_bytes(whole[:filled] + bytes(len(whole) - filled))
        folder.look(1000.0 * filled)
        assert not only(folder, 1000.0 * filled + SETTLE_SECONDS).whole, filled


def test_a_movie_with_fewer_frames_than_the_mdoc_gives_is_waited_for(tmp_path, raw, context):
    (raw / "TS_01.mdoc").write_text(HEADER + section(0, "a.tif", 4) + section(1, "b.tif", 4))
    (raw / "a.tif").write_bytes(movie_bytes(tmp_path, n_frames=4))
    (raw / "b.tif").write_bytes(movie_bytes(tmp_path, n_frames=2))  # whole, as if two frames were to come
    folder = watched(raw, min_tilts=2)
    folder.look(0.0)
    one = only(folder, SETTLE_SECONDS)
    assert one.unfinished == {"b.tif": "b.tif has 2 of 4 frames"}
    assert len(folder.series(one, context, closing=False).tilts) == 1
    assert len(folder.series(one, context, closing=True).tilts) == 2


def test_an_mdoc_that_is_written_anew_or_half_is_read_when_it_can_be(tmp_path, raw, context):
    for name in "ab":
        (raw / f"{name}.tif").write_bytes(movie_bytes(tmp_path))
    mdoc, folder = raw / "TS_01.mdoc", watched(raw)
    assert folder.look(0.0) == []
    mdoc.write_text(HEADER)
    assert "describes no image" in only(folder, 1.0).unfinished["TS_01"]
    text = HEADER + section(0, "a.tif") + section(1, "b.tif")
    mdoc.write_text(text[: text.index("TiltAngle = 3")])
    assert "gives no TiltAngle" in only(folder, 2.0).unfinished["TS_01"]
    mdoc.write_text(text)
    one = only(folder, SETTLE_SECONDS)
    assert (one.n_in_metadata, len(one.whole)) == (2, 2)
    assert [t.acquisition_index for t in folder.series(one, context, closing=False).tilts] == [0, 1]


def test_one_mdoc_per_movie(tmp_path, raw):
    folder = watched(raw)
    for i, angle in enumerate((0.0, 3.0, -3.0)):
        name = f"Pos_1_{i:03d}_{angle:.1f}.tif"
        (raw / name).write_bytes(movie_bytes(tmp_path))
        (raw / f"{name}.mdoc").write_text(HEADER + section(i, name))
        one = only(folder, 20.0 * i)
        assert (one.name, one.n_in_metadata) == ("Pos_1", i + 1)
    assert len(only(folder, 60.0).whole) == 3


def test_names_without_mdoc(tmp_path, raw):
    folder = watched(raw, pattern="{TS}_{TO}_{TA}.tif")
    assert folder.look(0.0) == []
    (raw / "TS_01_001_3.0.tif").write_bytes(movie_bytes(tmp_path)[:50])
    (raw / "TS_01_000_0.0.tif").write_bytes(movie_bytes(tmp_path))
    folder.look(10.0)
    one = only(folder, 20.0)
    assert (one.name, one.n_in_metadata) == ("TS_01", 2)
    assert one.whole == {raw / "TS_01_000_0.0.tif"}
    (raw / "TS_01_003_6.0.tif").write_bytes(movie_bytes(tmp_path))
    one = only(folder, 30.0)
    assert one.n_in_metadata == 4
    assert one.unfinished["the movie numbered 2"] == "missing"


def test_a_folder_that_vanishes_is_said_and_comes_back(tmp_path, raw):
    (raw / "TS_01.mdoc").write_text(HEADER + section(0, "a.tif"))
    (raw / "a.tif").write_bytes(movie_bytes(tmp_path))
    folder = watched(raw)
    folder.look(0.0)
    shutil.move(raw, tmp_path / "away")
    with pytest.raises(TransientError, match="raw cannot be read: No such file"):
        folder.look(10.0)
    shutil.move(tmp_path / "away", raw)
    assert only(folder, 20.0).whole == {raw / "a.tif"}


def test_a_missing_tilt_keeps_its_index_and_its_dose(tmp_path, raw, context):
    names = [f"TS_01_{i:03d}.tif" for i in range(4)]
    (raw / "TS_01.mdoc").write_text(HEADER + "".join(section(i, name) for i, name in enumerate(names)))
    for name in (names[0], names[2], names[3]):
        (raw / name).write_bytes(movie_bytes(tmp_path))
    folder = watched(raw)
    folder.look(0.0)
    series = folder.series(only(folder, SETTLE_SECONDS), context, closing=True)
    assert [tilt.acquisition_index for tilt in series.tilts] == [0, 2, 3]
    assert [tilt.dose_start_per_angstrom2 for tilt in series.tilts] == [0, 6, 9]
    assert any(
        "tilt at 3.0 deg is left out: the movie TS_01_001.tif is missing" in w for w in context.warnings
    )
    strict = watched(raw, leave_out_missing=False)
    strict.look(0.0)
    with pytest.raises(DataUnfitError, match=r"TS_01_001\.tif is missing"):
        strict.series(only(strict, SETTLE_SECONDS), context, closing=True)


def test_mdocs_below_and_movies_behind_a_link(raw, tmp_path):
    """RELION's layout, and a link back to the folder itself, which is not followed for ever."""
    store = tmp_path / "store"
    store.mkdir()
    (raw / "mdoc").mkdir()
    (raw / "frames").symlink_to(store)
    (store / "loop").symlink_to(raw)
    content = movie_bytes(tmp_path)
    names = [f"TS_01_{i:03d}_{3.0 * i:.1f}.tif" for i in range(3)]
    for name in names:
        (store / name).write_bytes(content)
    text = HEADER + "".join(section(i, name) for i, name in enumerate(names))
    (raw / "mdoc" / "TS_01.mdoc").write_text(text)
    folder = watched(raw)
    folder.look(0.0)
    now = only(folder, SETTLE_SECONDS + 1)
    assert (now.n_in_metadata, len(now.whole), now.unfinished) == (3, 3, {})
