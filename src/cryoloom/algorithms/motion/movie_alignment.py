"""One movie: clean, transform, find the motion, sum. Arrays in, arrays out; see `motion` for the method."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.frame_motion import (
    MotionEstimate,
    MotionSettings,
    estimate_motion,
    low_frequencies,
    working_shape,
)
from cryoloom.algorithms.motion.frame_spectra import (
    BadPixels,
    FrameGrid,
    find_bad_pixels,
    frame_grid,
    frame_spectrum,
)
from cryoloom.algorithms.motion.frame_sum import FrameSums, HalfSums, LocalHalfSums
from cryoloom.algorithms.motion.local_motion import LocalMotion, estimate_local_motion
from cryoloom.algorithms.motion.trajectory_prior import TrajectoryPrior
from cryoloom.algorithms.series.dose import mean_dose_weights, power_normalisation
from cryoloom.geometry.frames import binned_shape

__all__ = ["AlignedMovie", "FrameDoses", "MovieAligner"]

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameDoses:
    """What dose weighting of frames needs: dose at the borders of the frames, ``(frame + 1,)``, in e/A^2."""

    edges_per_angstrom2: NDArray[np.float64]
    pixel_size_angstrom: float
    voltage_kv: float


@dataclass(frozen=True, slots=True)
class AlignedMovie:
    """Motion and sums of a movie; the sums are valid until the aligner takes up the next one."""

    motion: MotionEstimate
    sums: FrameSums
    weighted: FrameSums | None
    """Frames weighted by damage."""
    n_bad_pixels: int
    local: LocalMotion | None = None


@dataclass(frozen=True, slots=True)
class MovieAligner:
    """Common data of the movies of a series.

    spectra_bytes : memory for the spectra of all frames; if they need more, each is computed a second time
    for the sum.
    """

    frame_yx: tuple[int, int]
    binning: float
    gain: Image | None
    settings: MotionSettings
    pool: Executor
    hot_pixel_sigma: float = 6.0
    spectra_bytes: int = 4 << 30
    local_grid_xyt: tuple[int, int, int] | None = None
    """Controls of a model of motion that differs over the field; none for whole frames only."""
    scratch: ScratchBuffers = field(default_factory=ScratchBuffers)
    grid: FrameGrid = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", frame_grid(self.frame_yx, self.binning))

    @property
    def image_yx(self) -> tuple[int, int]:
        """Shape of the sums."""
        n_y, n_x = binned_shape(self.frame_yx, self.binning)
        return n_y, n_x

    @property
    def working_yx(self) -> tuple[int, int]:
        """Shape whose spectra hold the frequencies that the motion is found from."""
        return working_shape(self.grid.shape_yx, self.settings.finest_px)

    @property
    def kept_yx(self) -> tuple[int, int]:
        """Shape whose spectra contain everything that is needed of a frame."""
        n_y, n_x = (max(a, b) for a, b in zip(self.grid.binned_yx, self.working_yx, strict=True))
        return n_y, n_x

    def holds_all(self, n_frames: int) -> bool:
        """Whether the spectra of so many frames are held at once; it shows in the last bits of the sums."""
        return 8 * n_frames * self.kept_yx[0] * (self.kept_yx[1] // 2 + 1) <= self.spectra_bytes

    def align(
        self,
        frames: Sequence[NDArray[Any]],
        prior: TrajectoryPrior,
        rng: np.random.Generator,
        doses: FrameDoses | None = None,
    ) -> AlignedMovie:
        """Find the motion of raw frames ``(y, x)`` and sum them; with ``doses`` also weighted by damage.

        rng : draws the good pixels that stand in for bad ones.
        """
        bad = find_bad_pixels(frames, self.gain, self.hot_pixel_sigma, rng, self.pool)
        all_frames = range(len(frames))
        keep_all = self.holds_all(len(frames))
        spectra = self._spectra(frames, all_frames, bad, self.kept_yx if keep_all else self.working_yx)
        low = low_frequencies(spectra, self.working_yx, self.scratch)
        motion = estimate_motion(low, self.grid.shape_yx, prior, self.settings)
        local = None
        plain: HalfSums | LocalHalfSums = HalfSums(self.grid, self.scratch)
        if self.local_grid_xyt is not None and len(frames) > 1:
            local = estimate_local_motion(
                low,
                self.grid.shape_yx,
                motion.shifts_yx_px,
                self.local_grid_xyt,
                prior,
                self.settings,
                self.pool,
            )
            plain = LocalHalfSums(self.grid, self.scratch, local, len(frames), self.pool)
        weighted = HalfSums(self.grid, self.scratch, "weighted sums") if doses is not None else None
        weights = self._damage(doses) if doses is not None else None
        for chunk in [all_frames] if keep_all and doses is None else [range(i, i + 1) for i in all_frames]:
            inside = slice(chunk.start, chunk.stop)
            part = spectra[inside] if keep_all else self._spectra(frames, chunk, bad, self.kept_yx)
            shifts = motion.shifts_yx_px[inside]
            plain.add(part, shifts, chunk.start)
            if weighted is not None and weights is not None:
                cropped = low_frequencies(part, self.grid.binned_yx)
                weighted.add(cropped * self._ring_weights(weights[inside]), shifts, chunk.start)
        sums = plain.images(bad.mean_counts, self.image_yx, self.pool)
        by_damage = weighted.images(bad.mean_counts, self.image_yx, self.pool) if weighted else None
        return AlignedMovie(motion, sums, by_damage, len(bad.y), local)

    def _spectra(
        self, frames: Sequence[NDArray[Any]], which: range, bad: BadPixels, shape_yx: tuple[int, int]
    ) -> NDArray[np.complex64]:
        """Low frequencies of some frames, ``(frame, y, x // 2 + 1)``, frames side by side in the pool."""
        shape = (len(which), shape_yx[0], shape_yx[1] // 2 + 1)
        spectra: NDArray[np.complex64] = self.scratch.array("spectra", shape, np.complex64)

        def transform(i: int) -> None:
            frame_spectrum(frames[i], i, self.gain, bad, self.grid, spectra[i - which.start], self.scratch)

        list(self.pool.map(transform, which))
        return spectra

    def _damage(self, doses: FrameDoses) -> NDArray[np.float64]:
        """Weights of frames over 1024 frequencies up to the binned grid's corner, ``(frame, 1024)``."""
        table = np.linspace(0.0, np.sqrt(0.5) / min(self.grid.binning_yx), 1024) / doses.pixel_size_angstrom
        edges = doses.edges_per_angstrom2
        weights = mean_dose_weights(table[None], edges[:-1, None], edges[1:, None], doses.voltage_kv)
        return power_normalisation(weights)

    def _ring_weights(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Spread weights by frequency over the binned grid, ``(frame, y, x // 2 + 1)``."""
        n_y, n_x = self.grid.binned_yx
        radius = np.hypot(np.fft.fftfreq(n_y)[:, None], np.fft.rfftfreq(n_x)[None]) / np.sqrt(0.5)
        position = np.minimum(radius * (weights.shape[1] - 1), weights.shape[1] - 1)
        return np.stack([np.interp(position, np.arange(weights.shape[1]), w) for w in weights]).astype(
            np.float32
        )
