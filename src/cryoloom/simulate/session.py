"""A simulated session: tilt series in memory, or as the files a microscope leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.single_thread_pool import single_thread_pool
from cryoloom.formats.pixels.eer_writer import write_eer
from cryoloom.formats.pixels.movie_writer import (
    write_eer_gain,
    write_gain_mrc,
    write_movie_mrc,
    write_movie_tiff,
)
from cryoloom.formats.session.mdoc_writer import MdocTilt, write_serialem_mdoc, write_tomo5_mdoc
from cryoloom.model import Sourced, Stack, Tilt, TiltSeries
from cryoloom.simulate.camera import (
    Camera,
    count,
    count_events,
    counted,
    frame_expectations,
    gain_as_filed,
    make_camera,
    sum_expectation,
)
from cryoloom.simulate.microscope import ExposedContrast, Optics, exposed_contrast
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.specimen import Specimen, make_specimen
from cryoloom.simulate.stage import tilt_truths
from cryoloom.simulate.truth import TiltTruth, Truth

__all__ = ["SimulationParams", "simulate_session", "simulate_tilt_series"]

Progress = Callable[[int, int], None]
Exposed = TypeVar("Exposed")

# Each kind of chance has its own stream, so that changing one part leaves the others as they were.
_STAGE, _SPECIMEN, _CAMERA, _ICE, _COUNTS = range(5)
_BEGINNING = datetime(2026, 3, 14, 9, 26, 53)
"""Arbitrary, so that equal sessions have equal files."""
_PER_TILT = timedelta(seconds=34)


def simulate_tilt_series(params: SimulationParams, index: int = 0) -> tuple[TiltSeries, Truth]:
    """One series in memory, and the truth of it.

    The stack is float32 counts ``(tilt, y, x)`` with noise, gain and motion perfectly corrected, tilts in
    ascending order. Tilts know nominal angles and doses; the series knows the axis as the mdoc gives it.
    """
    scene = _Scene.make(params, index)
    tilts = sorted(scene.tilts, key=lambda tilt: tilt.nominal_tilt_deg)
    stack = np.empty((len(tilts), *params.image_shape_yx), dtype=np.float32)

    def expose(tilt: TiltTruth) -> NDArray[np.int64]:
        expected = sum_expectation(scene.contrast(tilt), tilt, params, scene.optics)
        return counted(expected, scene.rng(_COUNTS, tilt.acquisition_index), params.coincidence_loss)

    for section, counts in enumerate(_side_by_side(expose, tilts, params)):
        stack[section] = counts
    truth = scene.truth(scene.tilts, camera=None)
    series = TiltSeries(
        name=truth.series,
        microscope=scene.optics.microscope,
        pixel_size_angstrom=params.pixel_size_angstrom,
        tilts=tuple(
            Tilt(
                acquisition_index=tilt.acquisition_index,
                nominal_tilt_deg=tilt.nominal_tilt_deg,
                dose_start_per_angstrom2=tilt.dose_start_per_angstrom2,
                dose_end_per_angstrom2=tilt.dose_end_per_angstrom2,
                nominal_defocus_angstrom=params.defocus_angstrom,
                section=section,
            )
            for section, tilt in enumerate(tilts)
        ),
        tilt_axis_deg=Sourced.from_told(truth.told_axis_deg, "mdoc"),
        stack=Stack(stack, params.pixel_size_angstrom),
    )
    return series, truth


def simulate_session(params: SimulationParams, directory: Path, progress: Progress | None = None) -> Truth:
    """Raw movies, gain reference, mdocs and truth of a session; gives the truth of its first series.

    ``truth.json`` is the first series'; those of further ones are ``truth_TS_02.json`` and so on.
    """
    directory = Path(directory)
    (directory / "frames").mkdir(parents=True, exist_ok=True)
    camera = make_camera(params, np.random.default_rng([params.seed, 0, _CAMERA]))
    if params.camera == "falcon_eer":
        write_eer_gain(directory / "reference.gain", camera.gain)
    else:
        write_gain_mrc(directory / "gain.mrc", gain_as_filed(camera), params.pixel_size_angstrom)
    truths = []
    for index in range(params.n_series):
        scene = _Scene.make(params, index)
        n_tilts = len(scene.tilts)
        seen, records = [], []
        expose = partial(scene.expose, camera=camera, folder=directory / "frames")
        for exposed, record in _side_by_side(expose, scene.tilts, params):
            seen.append(exposed)
            records.append(record)
            if progress is not None:
                progress(index * n_tilts + len(seen), params.n_series * n_tilts)
        truth = scene.truth(tuple(seen), camera)
        _write_mdoc(directory, truth, records, params)
        truth.save(directory / ("truth.json" if index == 0 else f"truth_{truth.series}.json"))
        truths.append(truth)
    return truths[0]


def _side_by_side(
    expose: Callable[[TiltTruth], Exposed], tilts: Sequence[TiltTruth], params: SimulationParams
) -> Iterator[Exposed]:
    """What each tilt gives, in order; two tilts at a time (one where they are large), each on one thread.

    Threads within an exposure would wait for each other most of the time; and the same sums must not depend
    on how many there are.
    """
    small = math.prod(params.image_shape_yx) < 12_000_000
    with single_thread_pool(min(torch.get_num_threads(), 2) if small else 1) as pool:
        yield from pool.map(expose, tilts)


def _write_mdoc(directory: Path, truth: Truth, records: list[MdocTilt], params: SimulationParams) -> None:
    """As SerialEM does, re-sorted by tilt; beside EER movies as Tomo5 does, in order of acquisition."""
    eer = params.camera == "falcon_eer"
    path = directory / f"{truth.series}{'' if eer else '.mrc'}.mdoc"
    common: _MdocFacts = {
        "pixel_size_angstrom": params.pixel_size_angstrom,
        "voltage_kv": params.voltage_kv,
        "image_shape_yx": params.image_shape_yx,
        "tilt_axis_deg": truth.told_axis_deg,
    }
    if eer:
        write_tomo5_mdoc(path, records, **common, rotation_sign=params.tomo5_rotation_sign)
    else:
        write_serialem_mdoc(path, sorted(records, key=lambda record: record.tilt_deg), **common)


class _MdocFacts(TypedDict):
    """Content of both kinds of mdoc for a series."""

    pixel_size_angstrom: float
    voltage_kv: float
    image_shape_yx: tuple[int, int]
    tilt_axis_deg: float


@dataclass(frozen=True, slots=True)
class _Scene:
    """One series before its images are made: its specimen, its tilts and the optics."""

    params: SimulationParams
    index: int
    optics: Optics
    specimen: Specimen
    tilts: tuple[TiltTruth, ...]

    @classmethod
    def make(cls, params: SimulationParams, index: int) -> _Scene:
        tilts = tilt_truths(params, np.random.default_rng([params.seed, index, _STAGE]))
        specimen = make_specimen(params, tilts, np.random.default_rng([params.seed, index, _SPECIMEN]))
        return cls(params, index, Optics(params), specimen, tilts)

    def rng(self, purpose: int, *more: int) -> np.random.Generator:
        return np.random.default_rng([self.params.seed, self.index, purpose, *more])

    def contrast(self, tilt: TiltTruth) -> ExposedContrast:
        return exposed_contrast(
            self.specimen, tilt, self.params, self.optics, self.rng(_ICE, tilt.acquisition_index)
        )

    def expose(self, tilt: TiltTruth, camera: Camera, folder: Path) -> tuple[TiltTruth, MdocTilt]:
        """Write one movie; gives the truth of it, X-rays included, and what the mdoc says."""
        params = self.params
        expectations = list(frame_expectations(self.contrast(tilt), tilt, params, self.optics))
        seed = [params.seed, self.index, _COUNTS, tilt.acquisition_index]
        acquired_at = _BEGINNING + timedelta(hours=self.index) + tilt.acquisition_index * _PER_TILT
        series = f"TS_{self.index + 1:02d}"
        if params.camera == "falcon_eer":
            number, angle = tilt.acquisition_index + 1, f"{tilt.nominal_tilt_deg:.2f}"
            name = f"{series}_{number:03d}_{angle}_{acquired_at:%Y%m%d_%H%M%S}_EER.eer"
            write_eer(
                folder / name,
                count_events(expectations, camera, params, seed),
                params.image_shape_yx,
                dose_per_angstrom2=params.dose_per_tilt_per_angstrom2,
                pixel_size_angstrom=params.pixel_size_angstrom,
            )
            total, n_frames = sum(expectations), 1
        else:
            suffix = "mrc" if params.camera == "k3_mrc" else "tif"
            name = f"{series}_{tilt.acquisition_index:03d}_{tilt.nominal_tilt_deg:.1f}.{suffix}"
            raw, xrays = count(expectations, camera, params, seed)
            if params.camera == "k3_mrc":
                write_movie_mrc(folder / name, raw, params.pixel_size_angstrom)
            else:
                write_movie_tiff(folder / name, raw)
            tilt = tilt.model_copy(update={"xrays": xrays})
            total, n_frames = raw.sum(axis=0, dtype=np.float32), params.n_frames
        record = MdocTilt(
            tilt_deg=tilt.nominal_tilt_deg,
            file_name=name,
            n_frames=n_frames,
            dose_per_angstrom2=params.dose_per_tilt_per_angstrom2,
            prior_dose_per_angstrom2=tilt.dose_start_per_angstrom2,
            target_defocus_angstrom=params.defocus_angstrom,
            measured_defocus_angstrom=tilt.defocus_angstrom,
            minimum=float(np.min(total)),
            maximum=float(np.max(total)),
            mean=float(np.mean(total)),
            acquired_at=acquired_at,
        )
        return tilt, record

    def truth(self, tilts: tuple[TiltTruth, ...], camera: Camera | None) -> Truth:
        params = self.params
        return Truth(
            series=f"TS_{self.index + 1:02d}",
            seed=params.seed,
            pixel_size_angstrom=params.pixel_size_angstrom,
            image_shape_yx=params.image_shape_yx,
            tilts=tilts,
            tilt_axis_deg=params.tilt_axis_deg,
            told_axis_deg=params.tilt_axis_deg + params.axis_error_deg,
            handedness=params.handedness,
            thickness_angstrom=params.thickness_angstrom,
            z_offset_angstrom=params.z_offset_angstrom,
            pretilt_x_deg=params.pretilt_x_deg,
            pretilt_y_deg=params.pretilt_y_deg,
            particles=self.specimen.particles,
            beads_xyz_angstrom=self.specimen.beads_xyz_angstrom,
            bead_diameter_angstrom=params.bead_diameter_angstrom,
            vesicles_xyz_angstrom=self.specimen.vesicles_xyz_angstrom,
            membranes=self.specimen.membranes,
            gain=camera.truth if camera is not None else None,
            parameters=params.model_dump(mode="json"),
        )
