import numpy as np
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.sample_images import cut_boxes, sample_affine


def waves(x, y):
    """Smooth to 15 pixels; xy in pixels from the centre."""
    return np.cos(2 * np.pi * (x + 0.5 * y) / 21) + np.sin(2 * np.pi * (y - 0.3 * x) / 15)


def pixels_of(shape_yx):
    return np.meshgrid(*(np.arange(n) - n // 2 for n in shape_yx[::-1]))


def test_affine_samples_are_the_images_at_offset_plus_matrix_u(rng):
    shape, out = (60, 81), (33, 40)
    image = torch.from_numpy(waves(*pixels_of(shape))).float()
    images = torch.stack([image, 2 * image])
    matrix = np.eye(2) * 0.8 + rng.uniform(-0.2, 0.2, (2, 2, 2))
    offset = rng.uniform(-5, 5, (2, 2))
    u = np.stack(pixels_of(out), axis=-1)
    for mode, tolerance in (("bilinear", 0.08), ("bicubic", 0.05)):
        found = sample_affine(images, matrix, offset, out, mode=mode).numpy()
        for i in (0, 1):
            at = u @ matrix[i].T + offset[i]
            inside = (np.abs(at) < np.array(shape[::-1]) / 2 - 3).all(axis=-1)
            assert inside.mean() > 0.5
            expected = (1 + i) * waves(at[..., 0], at[..., 1])
            assert_allclose(found[i][inside], expected[inside], atol=(1 + i) * tolerance)


def test_affine_samples_outside_are_zero():
    images = torch.ones((1, 20, 20))
    found = sample_affine(images, np.eye(2)[None], np.array([[15.0, 0.0]]), (20, 20))
    assert_allclose(found[0, :, :4], 1)
    assert_allclose(found[0, :, 6:], 0)


def test_boxes_at_whole_positions_are_the_pixels(rng):
    image = torch.from_numpy(rng.standard_normal((40, 51)).astype(np.float32))
    boxes = cut_boxes(image, np.array([[3.0, -2.0], [-10.0, 5.0]]), 8)
    assert_allclose(boxes[0], image[20 - 2 - 4 : 20 - 2 + 4, 25 + 3 - 4 : 25 + 3 + 4], atol=1e-4)
    assert_allclose(boxes[1], image[20 + 5 - 4 : 20 + 5 + 4, 25 - 10 - 4 : 25 - 10 + 4], atol=1e-4)


def test_boxes_between_pixels_and_beyond_the_edge():
    x, y = pixels_of((40, 40))
    image = torch.from_numpy(x + 10.0 * y).float()
    box = cut_boxes(image, np.array([[0.25, 0.5]]), 4)[0]
    assert_allclose(box[2, 2], 0.25 + 5.0, atol=1e-3)
    outside = np.array([[30.0, 0.0]])
    assert_allclose(cut_boxes(image, outside, 4), 0)
    mirrored = cut_boxes(image, outside, 4, beyond="reflection")[0]
    # Pixel 30 lies 10.5 beyond the outer edge at 19.5, and shows 9.
    assert_allclose(mirrored[2, 2], 9.0, atol=1e-3)
