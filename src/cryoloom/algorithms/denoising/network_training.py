"""Training of a network on random batches: one loop, early stopping, and a state that can be saved.

The batches of an epoch depend only on the seed and the epoch's number, so training that is interrupted and
continued gives the same result (on the same device and threads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["Training", "TrainingSettings", "load_weights", "weights_of"]

Arrays = dict[str, NDArray[Any]]
Loss = Callable[[nn.Module, np.random.Generator], torch.Tensor]
"""Loss of one batch drawn with these random numbers."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Duration and rate of the training."""

    n_epochs: int
    steps_per_epoch: int
    learning_rate: float
    patience: int
    """Epochs without a better validation loss after which training ends."""
    seed: int


@dataclass
class Training:
    """A network in training; `epochs` does the work, `state` and `restore` save and continue it."""

    network: nn.Module
    settings: TrainingSettings
    train_loss: Loss
    validation_loss: Loss
    """Called with the same random numbers every time."""
    train_losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate)
        self._best = weights_of(self.network)

    @property
    def n_epochs_done(self) -> int:
        """Number of finished epochs."""
        return len(self.train_losses)

    @property
    def best_epoch(self) -> int:
        """Number of the epoch with the lowest validation loss, from 0."""
        return int(np.argmin(self.validation_losses)) if self.validation_losses else -1

    @property
    def is_done(self) -> bool:
        """Whether all epochs are done, or the last ones gave no improvement."""
        waited = self.n_epochs_done - 1 - self.best_epoch
        return self.n_epochs_done >= self.settings.n_epochs or waited >= self.settings.patience

    def epochs(self, tell: Callable[[int], None] = lambda step: None) -> Iterator[int]:
        """Train and yield the number of each epoch; at the end the network has the best weights.

        tell : called with the number of steps done in the epoch.
        """
        while not self.is_done:
            epoch = self.n_epochs_done
            self._set_learning_rate(epoch)
            rng = np.random.default_rng([self.settings.seed, epoch])
            total = 0.0
            self.network.train()
            for step in range(self.settings.steps_per_epoch):
                self._optimizer.zero_grad(set_to_none=True)
                loss = self.train_loss(self.network, rng)
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                total += float(loss.detach())
                tell(step + 1)
            self.train_losses.append(total / self.settings.steps_per_epoch)
            self.validation_losses.append(self.validate(self.network))
            if self.best_epoch == epoch:
                self._best = weights_of(self.network)
            yield epoch
        load_weights(self.network, self._best)

    def validate(self, network: nn.Module) -> float:
        """Validation loss of this network or another, on the same boxes."""
        network.eval()
        with torch.no_grad():
            return float(self.validation_loss(network, np.random.default_rng(self.settings.seed)))

    def _set_learning_rate(self, epoch: int) -> None:
        """Cosine from the full rate to a twentieth of it."""
        share = 0.5 * (1 + np.cos(np.pi * epoch / self.settings.n_epochs))
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * (0.05 + 0.95 * share)

    def state(self) -> Arrays:
        """Everything needed to continue, as arrays by name."""
        arrays = {f"network.{name}": array for name, array in weights_of(self.network).items()}
        arrays |= {f"best.{name}": array for name, array in self._best.items()}
        moments = self._optimizer.state_dict()["state"]
        for index, entry in moments.items():
            arrays |= {f"adam.{index}.{name}": tensor.cpu().numpy() for name, tensor in entry.items()}
        arrays["losses"] = np.array([self.train_losses, self.validation_losses])
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a state of the same network and settings."""

        def part(prefix: str) -> Arrays:
            return {n.removeprefix(prefix): arrays[n] for n in arrays if n.startswith(prefix)}

        load_weights(self.network, part("network."))
        self._best = part("best.")
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for name, array in part("adam.").items():
            index, _, key = name.partition(".")
            entries.setdefault(int(index), {})[key] = torch.from_numpy(np.array(array))
        stored = self._optimizer.state_dict()
        stored["state"] = entries
        self._optimizer.load_state_dict(stored)
        losses = np.asarray(arrays["losses"])
        self.train_losses, self.validation_losses = losses[0].tolist(), losses[1].tolist()


def weights_of(network: nn.Module) -> Arrays:
    """Copies of a network's weights by name."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def load_weights(network: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Set a network's weights; raises ValueError if they belong to another network."""
    expected = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    got = {name: tuple(array.shape) for name, array in weights.items()}
    if shapes != got:
        raise ValueError("the weights are of a network of another size")
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
