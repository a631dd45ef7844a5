"""Cards of the run graph: none covers another, and lines go to the right."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.web.graph_layout import CARD_HEIGHT_PX, CARD_WIDTH_PX, laid_out


@pytest.mark.parametrize("n_runs", [1, 9, 60])
def test_cards_never_overlap_and_lines_go_to_the_right(n_runs: int, rng: np.random.Generator) -> None:
    inputs = {
        run: sorted({int(rng.integers(1, run)) for _ in range(rng.integers(0, 3))}) if run > 1 else []
        for run in range(1, n_runs + 1)
    }
    places = laid_out(inputs)
    assert set(places) == set(inputs)
    boxes = list(places.values())
    for i, a in enumerate(boxes):
        assert a.x >= 0
        assert a.y >= 0
        for b in boxes[i + 1 :]:
            assert abs(a.x - b.x) >= CARD_WIDTH_PX or abs(a.y - b.y) >= CARD_HEIGHT_PX
    for run, sources in inputs.items():
        assert all(places[source].x < places[run].x for source in sources)


def test_a_chain_is_a_straight_line() -> None:
    places = laid_out({1: [], 2: [1], 3: [2], 4: [3]})
    assert len({place.y for place in places.values()}) == 1
