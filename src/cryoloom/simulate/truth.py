"""Everything true of a simulated series, kept beside it as ``truth.json``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.model import Ctf, Pose, TiltSeries

__all__ = ["GainTruth", "LocalMotionTruth", "MembraneTruth", "ParticleTruth", "TiltTruth", "Truth"]


def _as_array(value: Any) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64)


Points = Annotated[
    np.ndarray[Any, np.dtype[np.float64]],
    BeforeValidator(lambda value: _as_array(value).reshape(-1, 3)),
    PlainSerializer(lambda value: np.round(value, 4).tolist()),
]
Matrix = Annotated[
    np.ndarray[Any, np.dtype[np.float64]],
    BeforeValidator(lambda value: _as_array(value).reshape(3, 3)),
    PlainSerializer(lambda value: value.tolist()),
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class LocalMotionTruth(_Frozen):
    """Motion besides that of the whole frame: a smooth field that follows one course in time.

    With positions y and x from -1 to 1 over the image, terms are x, y, x^2 - 1/3, x y, y^2 - 1/3: each is
    0 on average over the field.
    """

    coefficients_yx_angstrom: tuple[tuple[float, float], ...]
    """Coefficients of each term, ``(5, 2)``."""
    course: tuple[float, ...]
    """Course at each frame, relative to the mean over frames.

    It changes by 1 from start to end of the exposure.
    """

    @property
    def control_yx_angstrom(self) -> NDArray[np.float64]:
        """Coefficients of ``y^a x^b``, ``(a, b, 2)``."""
        in_x, in_y, x2, xy, y2 = np.array(self.coefficients_yx_angstrom)
        control = np.zeros((3, 3, 2))
        control[0, 1], control[1, 0], control[1, 1] = in_x, in_y, xy
        control[0, 2], control[2, 0], control[0, 0] = x2, y2, -(x2 + y2) / 3
        return control

    def displacement_yx_angstrom(
        self, i_frame: int, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Displacement ``(y, x, 2)`` of a frame at positions ``y`` by ``x``, each -1 to 1 over the image."""
        powers = [np.stack([np.ones_like(v), v, v**2], axis=1) for v in (y, x)]
        return self.course[i_frame] * np.einsum("ya,xb,abc->yxc", *powers, self.control_yx_angstrom)


class TiltTruth(_Frozen):
    """One exposure as it was. Its pose is that of the specimen at its mean position over the frames."""

    acquisition_index: int
    nominal_tilt_deg: float
    tilt_deg: float
    axis_deg: float
    x_tilt_deg: float = 0.0
    shift_xy_angstrom: tuple[float, float]
    defocus_u_angstrom: float
    """At the specimen's origin; underfocus is positive."""
    defocus_v_angstrom: float
    astigmatism_angle_deg: float
    phase_shift_deg: float = 0.0
    """Phase shift of a phase plate."""
    frame_shifts_yx_angstrom: tuple[tuple[float, float], ...]
    """Specimen's position in each frame, relative to the mean over frames."""
    frame_travel_yx_angstrom: tuple[tuple[float, float], ...] = ()
    """Distance of the specimen between the beginning and the end of each frame."""
    vibration_yx_angstrom: tuple[float, float] = (0.0, 0.0)
    """Amplitude of an oscillation faster than the frames."""
    local_motion: LocalMotionTruth | None = None
    dose_start_per_angstrom2: float
    dose_end_per_angstrom2: float
    transmission: float
    """Electrons that pass the energy filter, as a fraction."""
    flaw: Literal["", "dark", "shifted", "blurred"] = ""
    xrays: tuple[tuple[int, int, int], ...] = ()
    """Frame, row and column of each X-ray hit."""

    @property
    def defocus_angstrom(self) -> float:
        """Mean defocus at the specimen's origin."""
        return 0.5 * (self.defocus_u_angstrom + self.defocus_v_angstrom)

    @property
    def pose(self) -> Pose:
        """True pose, as the model keeps it."""
        return Pose(self.axis_deg, self.tilt_deg, self.x_tilt_deg, self.shift_xy_angstrom)

    @property
    def ctf(self) -> Ctf:
        """True CTF, as the model keeps it."""
        return Ctf(
            self.defocus_u_angstrom,
            self.defocus_v_angstrom,
            self.astigmatism_angle_deg,
            self.phase_shift_deg % 180.0,
        )


class ParticleTruth(_Frozen):
    """Positions of the particles of one species, and their rotations (reference to specimen)."""

    species: str
    positions_xyz_angstrom: Points
    rotations: tuple[Matrix, ...]


class MembraneTruth(_Frozen):
    """A flat membrane: a round sheet of two leaflets, cut off where the ice ends."""

    centre_xyz_angstrom: tuple[float, float, float]
    normal_xyz: tuple[float, float, float]
    radius_angstrom: float


class GainTruth(_Frozen):
    """Orientation of the gain file, and broken rows and columns of the movie."""

    quarter_turns: int
    flip: str
    dead_pixels_yx: tuple[tuple[int, int], ...] = ()
    hot_pixels_yx: tuple[tuple[int, int], ...] = ()
    dead_columns_x: tuple[int, ...] = ()


class Truth(_Frozen):
    """One simulated series. Tilts are in order of acquisition; positions in angstrom from the origin."""

    series: str
    seed: int
    pixel_size_angstrom: float
    image_shape_yx: tuple[int, int]
    tilts: tuple[TiltTruth, ...]
    tilt_axis_deg: float
    told_axis_deg: float
    handedness: int
    thickness_angstrom: float
    z_offset_angstrom: float
    pretilt_x_deg: float
    pretilt_y_deg: float
    particles: tuple[ParticleTruth, ...]
    beads_xyz_angstrom: Points
    bead_diameter_angstrom: float
    vesicles_xyz_angstrom: Points
    membranes: tuple[MembraneTruth, ...] = ()
    gain: GainTruth | None = None
    parameters: dict[str, Any] = {}

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read a ``truth.json``."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))

    def save(self, path: Path) -> None:
        """Write a ``truth.json``."""
        Path(path).write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @property
    def slab_rotation(self) -> NDArray[np.float64]:
        """From the ice's own frame, flat at z = 0, to the specimen's; it is then moved by the z offset."""
        return rotation_y(self.pretilt_y_deg) @ rotation_x(self.pretilt_x_deg)

    def tilt(self, acquisition_index: int) -> TiltTruth:
        """The exposure of an acquisition index."""
        return self.tilts[acquisition_index]

    def random_specimen_points(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Points ``(n, 3)`` in the ice, anywhere the least tilted image shows it."""
        least = min(self.tilts, key=lambda tilt: abs(tilt.tilt_deg))
        half_xy = 0.5 * np.array(self.image_shape_yx[::-1]) * self.pixel_size_angstrom
        image_xy = rng.uniform(-half_xy, half_xy, (n, 2)) - least.shift_xy_angstrom
        matrix = least.pose.matrix
        normal = self.slab_rotation[:, 2]
        height = rng.uniform(-0.5, 0.5, n) * self.thickness_angstrom + self.z_offset_angstrom * normal[2]
        # normal . matrix.T (x, y, w) = height, solved for the beam coordinate w.
        in_image = matrix @ normal
        beam = (height - image_xy @ in_image[:2]) / in_image[2]
        return np.column_stack([image_xy, beam]) @ matrix

    def defocus_of_ice_angstrom(self, acquisition_index: int) -> float:
        """Mean defocus of the ice's middle at the image's centre: what one image by itself can give.

        It differs from that of the specimen's origin by the ice's offset and by the tilt's image shift.
        """
        tilt = self.tilt(acquisition_index)
        in_image = tilt.pose.matrix @ self.slab_rotation[:, 2]
        height = self.slab_rotation[2, 2] * self.z_offset_angstrom
        beam = (height + np.dot(tilt.shift_xy_angstrom, in_image[:2])) / in_image[2]
        return float(tilt.defocus_angstrom - self.handedness * beam)

    def with_true_poses(self, series: TiltSeries) -> TiltSeries:
        """The series with the true pose on every tilt."""
        return replace(
            series, tilts=tuple(replace(t, pose=self.tilt(t.acquisition_index).pose) for t in series.tilts)
        )

    def with_true_ctfs(self, series: TiltSeries) -> TiltSeries:
        """The series with the true CTF on every tilt."""
        return replace(
            series, tilts=tuple(replace(t, ctf=self.tilt(t.acquisition_index).ctf) for t in series.tilts)
        )
