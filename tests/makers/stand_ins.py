"""Stand-ins for outside programs: small executables that check their command line and write good output."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

__all__ = ["install"]

_HEAD = """#!{python} -S
import os, pathlib, struct, sys
ARGUMENTS = sys.argv[1:]
if ARGUMENTS == ["--version"]:
    print("{name} version {version}")
    sys.exit(0)

def fail(message):
    print("ERROR: " + message)
    sys.exit(1)

def options(values, flags=()):
    '''Arguments as a dictionary; each option must be known and have as many words as are given.'''
    found, i = {{}}, 0
    while i < len(ARGUMENTS):
        word = ARGUMENTS[i]
        if word in flags:
            found[word], i = True, i + 1
            continue
        if word not in values:
            fail("unknown option " + word)
        if word in found:
            fail("option given twice: " + word)
        n = values[word]
        lowest, most = n if isinstance(n, tuple) else (n, n)
        words = []
        while len(words) < most and i + 1 + len(words) < len(ARGUMENTS):
            following = ARGUMENTS[i + 1 + len(words)]
            if len(words) >= lowest and (following in values or following in flags):
                break
            words.append(following)
        if len(words) < lowest:
            fail(f"{{word}} needs {{lowest}} words, got {{words}}")
        found[word], i = words, i + 1 + len(words)
    return found

def read_mrc(path):
    '''(sections, rows, columns) and the values of a file of 32-bit floats.'''
    data = pathlib.Path(path).read_bytes()
    n_x, n_y, n_z, mode = struct.unpack("<4i", data[:16])
    if mode != 2:
        fail(f"{{path}} has mode {{mode}}, expected 2")
    extended = struct.unpack("<i", data[92:96])[0]
    body = data[1024 + extended:]
    if len(body) != 4 * n_x * n_y * n_z:
        fail(f"{{path}} is truncated")
    return (n_z, n_y, n_x), body

def write_mrc(path, shape, body=None, pixel=1.0):
    '''A file of 32-bit floats; without values a pattern that is not constant.'''
    n_z, n_y, n_x = shape
    n = n_x * n_y * n_z
    if body is None:
        body = struct.pack(f"<{{n}}f", *((i % 251) / 251.0 for i in range(n)))
    header = bytearray(1024)
    struct.pack_into("<10i", header, 0, n_x, n_y, n_z, 2, 0, 0, 0, n_x, n_y, n_z)
    struct.pack_into("<6f", header, 40, n_x * pixel, n_y * pixel, n_z * pixel, 90, 90, 90)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    struct.pack_into("<3f", header, 76, 0.0, 1.0, 0.5)
    header[208:216] = b"MAP DD\\0\\0"
    pathlib.Path(path).write_bytes(bytes(header) + body)

"""


def install(folder: Path, name: str, body: str, *, version: str = "9.9.9") -> Path:
    """An executable ``name`` in a folder; ``body`` is Python after the helpers above."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    head = _HEAD.format(python=sys.executable, name=name, version=version)
    path.write_text(head + textwrap.dedent(body))
    path.chmod(0o755)
    return path
