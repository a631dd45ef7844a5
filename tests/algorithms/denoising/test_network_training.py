import numpy as np
import pytest
import torch
from torch import nn

from cryoloom.algorithms.denoising.network_training import (
    Training,
    TrainingSettings,
    load_weights,
    weights_of,
)


def line_fit(n_epochs=12, patience=50, noise=0.0):
    """Learn y = 3 x - 1 from points drawn anew."""

    def loss(network, rng):
        x = torch.from_numpy(rng.standard_normal((16, 1)).astype(np.float32))
        y = 3 * x - 1 + noise * torch.from_numpy(rng.standard_normal((16, 1)).astype(np.float32))
        return ((network(x) - y) ** 2).mean()

    torch.manual_seed(0)
    return Training(nn.Linear(1, 1), TrainingSettings(n_epochs, 20, 0.1, patience, 7), loss, loss)


def test_training_finds_the_answer_and_tells_every_step():
    training, reported = line_fit(), []
    assert list(training.epochs(reported.append)) == list(range(12))
    assert reported == list(range(1, 21)) * 12
    assert training.network.weight.item() == pytest.approx(3.0, abs=0.05)
    assert training.validation_losses[-1] < 1e-2


def test_training_ends_early_with_the_best_weights():
    training = line_fit(200, patience=3, noise=1.0)
    epochs = list(training.epochs())
    assert len(epochs) < 200
    assert training.best_epoch == epochs[-1] - 3
    assert training.validate(training.network) == pytest.approx(min(training.validation_losses))


def test_training_taken_up_again_gives_the_same():
    whole, broken = line_fit(), line_fit()
    list(whole.epochs())
    running = broken.epochs()
    for _ in range(5):
        next(running)
    again = line_fit()
    again.restore(broken.state())
    assert list(again.epochs()) == list(range(5, 12))
    assert again.validation_losses == whole.validation_losses
    for name, array in weights_of(whole.network).items():
        np.testing.assert_array_equal(array, weights_of(again.network)[name])


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="another size"):
        load_weights(nn.Linear(2, 1), weights_of(nn.Linear(1, 1)))
