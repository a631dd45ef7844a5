"""EER files written bit by bit, apart from the decoder and from the package's own writer."""

from __future__ import annotations

import struct

import numpy as np
import pytest


def encode_events(pixels, places, n_pixels, skip_bits=7):
    """An EER frame by the format's text, bit by bit: slow, and written apart from the decoder."""
    bits: list[int] = []

    def put(value, n):
        bits.extend(value >> i & 1 for i in range(n))

    most, after = (1 << skip_bits) - 1, 0
    for pixel, place in zip([*pixels, n_pixels], [*places, 0], strict=True):
        gap = pixel - after
        while gap >= most:
            put(most, skip_bits)
            gap -= most
        put(gap, skip_bits)
        put(place, 4)
        after = pixel + 1
    bits.extend([0] * (-len(bits) % 16))
    return np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()


def write_bigtiff(path, frames, n_y, n_x, compressions):
    """A BigTIFF whose strips are given bytes."""
    data, directories, at = b"", [], 16
    for frame, compression in zip(frames, compressions, strict=True):
        directories.append(
            [(256, n_x), (257, n_y), (259, compression), (273, at + len(data)), (279, len(frame))]
        )
        data += frame
    out, at = data, 16 + len(data)
    first = at
    for i, entries in enumerate(directories):
        block = struct.pack("<Q", len(entries))
        block += b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in entries)
        at += len(block) + 8
        out += block + struct.pack("<Q", at if i + 1 < len(directories) else 0)
    path.write_bytes(b"II" + struct.pack("<HHHQ", 43, 8, 0, first) + out)


@pytest.fixture
def events(rng):
    """Three frames of 64 x 96: pixel indices and places within the pixel."""
    frames = [np.sort(rng.choice(64 * 96, n, replace=False)) for n in (500, 3, 900)]
    return [(pixels, rng.integers(0, 16, len(pixels))) for pixels in frames]


@pytest.fixture
def eer(tmp_path, events):
    path = tmp_path / "movie.eer"
    write_bigtiff(path, [encode_events(*frame, 64 * 96) for frame in events], 64, 96, [65001] * 3)
    return path
