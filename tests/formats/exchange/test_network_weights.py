"""Weights of networks: arrays and facts come back, other files are recognised."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.formats.exchange.network_weights import read_network, write_network


def test_weights_and_facts_come_back(tmp_path, rng):
    weights = {
        "encoder.0": rng.normal(size=(2, 3, 3)).astype(np.float32).transpose(1, 0, 2),
        "n": np.arange(3),
    }
    write_network(tmp_path / "network.safetensors", weights, {"depth": "3"})
    found, facts = read_network(tmp_path / "network.safetensors")
    assert facts == {"depth": "3"}
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)


def test_other_files_are_recognised(tmp_path):
    with pytest.raises(UserInputError, match=r"do not exist; give a network.safetensors"):
        read_network(tmp_path / "none.safetensors")
    (tmp_path / "model.pt").write_bytes(b"\x80\x02pickle" * 20)
    with pytest.raises(DataUnfitError, match="not a safetensors file that can be read"):
        read_network(tmp_path / "model.pt")


def test_a_disk_that_refuses_may_be_tried_again(tmp_path):
    with pytest.raises(TransientError, match="cannot write"):
        write_network(tmp_path / "none" / "network.safetensors", {"a": np.zeros(1)}, {})
