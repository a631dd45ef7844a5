"""The network that training starts from: a new one, or that of an earlier run."""

from __future__ import annotations

from pathlib import Path

import torch

from cryoloom.algorithms.denoising.network_training import load_weights
from cryoloom.algorithms.denoising.unet import UNet3d
from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.network_weights import read_network

__all__ = ["starting_network"]


def starting_network(weights: Path | None, filters: int, depth: int) -> UNet3d:
    """A new network of this size, the same every time; or the stored one, with its own size.

    Raises UserInputError for a file that holds no such network.
    """
    if weights is None:
        torch.manual_seed(0)
        return UNet3d(filters, depth)
    stored, facts = read_network(weights)
    try:
        network = UNet3d(int(facts["filters"]), int(facts["depth"]))
        load_weights(network, stored)
    except (KeyError, ValueError) as error:
        raise UserInputError(
            f"{weights.name} holds no network of this step; give the network.safetensors of a run"
        ) from error
    return network
