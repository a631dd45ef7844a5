import numpy as np
import pytest

from cryoloom.algorithms.images.parabola import highest_by_parabola

X = 0.5 * np.arange(-3.0, 4.0)


@pytest.mark.parametrize("at", [-1.1, -0.2, 0.0, 0.6])
def test_a_parabola_is_found_exactly(at):
    assert highest_by_parabola(X, 5 - 3 * (X - at) ** 2) == pytest.approx(at)


def test_at_an_end_it_goes_no_further_than_the_end_and_flat_is_the_first():
    assert highest_by_parabola(X, X) == X[-1]
    assert highest_by_parabola(X, -((X - 9.0) ** 2)) == pytest.approx(X[-1])
    assert highest_by_parabola(X, np.ones(len(X))) == X[0]
