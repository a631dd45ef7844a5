"""Bytes of the files of every run, as they lie on the disk."""

from __future__ import annotations

from pathlib import Path

from cryoloom.store.database import Database
from cryoloom.store.disk import bytes_of, disk_by_run
from cryoloom.store.reading import ProjectReader
from cryoloom.store.records import FileRecord, ItemRecord


def test_bytes_of_files_folders_and_nothing(tmp_path):
    (tmp_path / "volume.zarr" / "0").mkdir(parents=True)
    (tmp_path / "volume.zarr" / "0" / "chunk").write_bytes(b"x" * 70)
    (tmp_path / "volume.zarr" / "zarr.json").write_bytes(b"x" * 5)
    assert bytes_of(tmp_path / "volume.zarr") == 75
    assert bytes_of(tmp_path / "volume.zarr" / "zarr.json") == 5
    assert bytes_of(tmp_path / "none.mrc") == 0


def test_only_runs_with_files_are_listed_and_cleaned_files_take_nothing(tmp_path):
    database = Database.create(tmp_path)
    for node in ("align", "weigh", "select"):
        database.begin_run(node, node, 1, {}, None, {})
    for name, size in (("a.mrc", 300), ("b.mrc", 20), ("c.mrc", 4000)):
        (tmp_path / name).write_bytes(b"x" * size)

    def record(run_id, item, *files):
        value = ItemRecord(run_id, item, f"{run_id} {item}", "done", value={}, files=files)
        database.record_item(value)

    record(1, "TS_01", FileRecord("images", Path("a.mrc"), 300))
    record(1, "TS_02", FileRecord("images", Path("b.mrc"), 20))
    record(2, "TS_01", FileRecord("images", Path("gone.mrc"), 4000))
    record(3, "TS_01")
    with ProjectReader(tmp_path) as reader:
        listed = disk_by_run(reader, tmp_path)
    assert [(run.node, n_bytes, n_items) for run, n_bytes, n_items in listed] == [("align", 320, 2)]
