"""Binary glTF, read back by its specification."""

from __future__ import annotations

import json
import struct

import numpy as np

from cryoloom.formats.exchange.gltf import glb_of


def test_a_surface_is_read_back_as_the_specification_says():
    vertices = np.array([[0, 0, 0], [10, 0, 0], [0, 20, 0], [0, 0, 30.5]])
    normals = -np.eye(4, 3)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    data = glb_of(vertices, normals, triangles, "one é")
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    n_text, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    assert n_text % 4 == 0
    document = json.loads(data[20 : 20 + n_text])
    n_binary, kind = struct.unpack_from("<I4s", data, 20 + n_text)
    assert kind == b"BIN\0"
    binary = data[28 + n_text :]
    assert len(binary) == n_binary == document["buffers"][0]["byteLength"]
    (primitive,) = document["meshes"][0]["primitives"]

    def read(accessor: int) -> np.ndarray:
        facts = document["accessors"][accessor]
        view = document["bufferViews"][facts["bufferView"]]
        dtype = {5126: "<f4", 5125: "<u4"}[facts["componentType"]]
        values = np.frombuffer(binary[view["byteOffset"] :][: view["byteLength"]], dtype)
        return values.reshape(facts["count"], -1)

    assert np.array_equal(read(primitive["attributes"]["POSITION"]), vertices)
    assert np.array_equal(read(primitive["attributes"]["NORMAL"]), normals)
    assert np.array_equal(read(primitive["indices"]).ravel(), triangles.ravel())
    assert document["accessors"][0]["max"] == [10.0, 20.0, 30.5]
    assert document["nodes"][0]["name"] == "one é"
