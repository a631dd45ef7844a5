"""Pages of a file on their way to the disk before the flush."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from cryoloom.formats.pixels import mrc, writeback
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has sync_file_range")
def test_a_file_is_accepted_and_a_closed_one_is_not(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.write(b"1" * 100_000)
        file.flush()
        assert writeback.begin_writing(file.fileno())
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    os.close(descriptor)
    assert not writeback.begin_writing(descriptor)


def test_systems_without_it_write_at_the_flush(monkeypatch, tmp_path):
    monkeypatch.setattr(writeback, "_request", lambda: None)
    with open(tmp_path / "a", "wb") as file:
        assert not writeback.begin_writing(file.fileno())


def test_a_stack_asks_each_time_enough_was_written_and_holds_what_was_written(monkeypatch, rng, tmp_path):
    asked = []
    monkeypatch.setattr(mrc, "begin_writing", asked.append)
    monkeypatch.setattr(mrc, "_WRITTEN_AT_ONCE_BYTES", 2000)
    images = rng.standard_normal((5, 20, 16)).astype(np.float16)
    sink = MrcSink(tmp_path / "stack.mrc", images.shape, 2.0, "float16")
    for i, image in enumerate(images):  # 640 bytes each
        sink[i] = image
    assert len(asked) == 1
    sink.commit()
    np.testing.assert_array_equal(MrcPixels(tmp_path / "stack.mrc")[:], images)
