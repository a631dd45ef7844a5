"""select_tilts names what is wrong with a tilt: dark, shifted and blurred images of one small series."""

import numpy as np

from cryoloom.model import Microscope, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.select_tilts import SelectTiltsParams, select_tilts

SIDE, PIXEL = 256, 10.0
TILTS = np.arange(-24.0, 25.0, 4.0)
DARK, SHIFTED, BLURRED = 2, 9, 11


def make_series(rng):
    """A flat specimen of texture at 10 A: one image dark, one moved by a quarter, one smeared."""
    y, x = np.fft.fftfreq(2 * SIDE)[:, None], np.fft.rfftfreq(2 * SIDE)[None]
    spectrum = np.fft.rfft2(rng.normal(size=(2 * SIDE, 2 * SIDE))) * np.exp(-((y**2 + x**2) / 0.09**2))
    texture = np.fft.irfft2(spectrum)
    texture /= texture.std()
    half = SIDE // 2
    images = []
    for i in range(len(TILTS)):
        seen = texture
        if i == BLURRED:
            seen = np.mean([np.roll(texture, (k, 3 * k % 11), axis=(0, 1)) for k in range(11)], axis=0)
        first = half + (SIDE // 4 if i == SHIFTED else 0)
        image = 100 + 10 * seen[half : half + SIDE, first : first + SIDE] + rng.normal(0, 2, (SIDE, SIDE))
        images.append(image * (0.2 if i == DARK else 1.0))
    tilts = tuple(Tilt(i, float(t), 3.0 * i, 3.0 * i + 3, section=i) for i, t in enumerate(TILTS))
    stack = Stack(np.array(images, np.float32), PIXEL)
    return TiltSeries("a", Microscope(), PIXEL, tilts, Sourced.from_told(0.0, "mdoc"), stack=stack)


def test_dark_shifted_and_blurred_tilts_are_named(rng, context):
    selected = select_tilts(make_series(rng), SelectTiltsParams(), context)
    reasons = {i: t.exclusion.reason for i, t in enumerate(selected.tilts) if t.is_excluded}
    assert set(reasons) == {DARK, SHIFTED, BLURRED}
    assert "dark" in reasons[DARK]
    assert "shifted" in reasons[SHIFTED]
    assert "blurred" in reasons[BLURRED]
