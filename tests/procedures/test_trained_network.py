"""A new network is the same every time; a stored one keeps its weights and its size."""

from __future__ import annotations

import pytest
import torch

from cryoloom.algorithms.denoising.network_training import weights_of
from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.network_weights import write_network
from cryoloom.procedures.trained_network import starting_network


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_new_network_is_the_same_every_time():
    torch.manual_seed(77)
    first = starting_network(None, 4, 1)
    torch.rand(5)
    assert same(first, starting_network(None, 4, 1))


def test_a_stored_network_comes_back_with_its_own_size(tmp_path):
    network = starting_network(None, 6, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.25)
    write_network(tmp_path / "network.safetensors", weights_of(network), {"filters": "6", "depth": "2"})
    assert same(network, starting_network(tmp_path / "network.safetensors", 4, 1))


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    write_network(path, {"a": torch.zeros(3).numpy()}, {"filters": "4", "depth": "1"})
    with pytest.raises(UserInputError, match=r"other\.safetensors holds no network of this step"):
        starting_network(path, 4, 1)
