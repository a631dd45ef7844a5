import numpy as np

from cryoloom.algorithms.denoising.half_boxes import draw_boxes


def halves(shape, rng):
    y = np.broadcast_to(np.arange(shape[1], dtype=np.float32)[None, :, None], shape)
    even, odd = (y + rng.normal(0, 1e-3, shape).astype(np.float32) for _ in range(2))
    return even, odd


def test_validation_boxes_are_apart_along_the_tilt_axis(rng):
    even, odd = halves((20, 100, 30), rng)
    training, validation, normalisation = draw_boxes(even, odd, 60, 16, rng, validation_share=0.2)
    rows = [normalisation.undo(boxes.boxes.astype(np.float32)) for boxes in (training, validation)]
    assert rows[0].max() < 80.5
    assert rows[1].min() > 79.5
    assert len(validation) == 12


def test_boxes_are_normalised_and_both_halves_show_the_same_place(rng):
    even, odd = halves((20, 60, 30), rng)
    training, _, normalisation = draw_boxes(even, odd, 40, 8, rng)
    assert abs(float(training.boxes.astype(np.float32).mean())) < 0.01
    one, other = training.batch(12, np.random.default_rng(1))
    assert one.shape == (12, 1, 8, 8, 8)
    np.testing.assert_allclose(one, other, atol=0.02)
    assert normalisation.deviation > 1


def test_a_thin_volume_is_continued(rng):
    even, odd = halves((6, 40, 9), rng)
    training, validation, _ = draw_boxes(even, odd, 5, 16, rng)
    assert training.boxes.shape == (5, 2, 16, 16, 16)
    assert np.isfinite(validation.boxes).all()
