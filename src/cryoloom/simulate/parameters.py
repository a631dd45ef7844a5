"""Parameters of a simulated session: one frozen set. The defaults make the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SimulationParams"]


class SimulationParams(BaseModel):
    """Specimen, microscope, stage and camera of a simulated session."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    seed: int = Field(1, ge=0, description="The same seed makes the same session, bit by bit.")
    n_series: int = Field(1, ge=1, description="Number of tilt series, each of another specimen.")

    # Stage
    tilt_min_deg: float = Field(-60.0, ge=-90, le=0, description="Lowest nominal tilt.")
    tilt_max_deg: float = Field(60.0, ge=0, le=90, description="Highest nominal tilt.")
    tilt_step_deg: float = Field(3.0, gt=0, description="Nominal increment.")
    scheme: Literal["dose_symmetric", "continuous", "bidirectional"] = Field(
        "dose_symmetric", description="Order in which the tilts are taken."
    )
    tilt_error_rms_deg: float = Field(0.1, ge=0, description="True minus nominal tilt, rms.")
    tilt_axis_deg: float = Field(85.3, description="True tilt axis, from the image's +y, counter-clockwise.")
    axis_error_deg: float = Field(1.5, description="Tilt axis in the mdoc minus the true one.")
    tomo5_rotation_sign: Literal[1, -1] = Field(
        1, description="Sign of RotationAngle in Tomo5's mdocs (EER): versions of the program differ."
    )
    axis_drift_deg: float = Field(0.0, description="True axis at the highest minus at the lowest tilt.")
    shift_rms_angstrom: float = Field(60.0, ge=0, description="Image shift of each tilt, rms per axis.")
    shift_trend_angstrom: float = Field(
        150.0, ge=0, description="Image shift from the lowest to the highest tilt, growing steadily."
    )
    motion_angstrom: float = Field(3.0, ge=0, description="Drift during an exposure, rms length.")
    motion_decay_fraction: float = Field(
        0.35, gt=0, description="Part of the exposure in which the drift falls to 1/e."
    )
    jitter_angstrom: float = Field(
        0.25, ge=0, description="Additional random position of each frame, rms per axis."
    )

    local_motion_angstrom: float = Field(
        3.0,
        ge=0,
        description="Doming: motion besides the drift that differs over the field, from the start to the end "
        "of the first exposure, rms over the field; a third of it once the ice has had 20 e/A^2.",
    )

    # Specimen
    specimen: str = Field(
        "builtin", description="'builtin', or an atomic model (PDB or mmCIF, may be gzipped)."
    )
    n_particles: int = Field(120, ge=0, description="Particles seen in the untilted field.")
    n_vesicles: int = Field(6, ge=0, description="Vesicles seen in the untilted field.")
    n_membranes: int = Field(2, ge=0, description="Flat membranes seen in the untilted field.")
    n_beads: int = Field(12, ge=0, description="Gold beads seen in the untilted field.")
    bead_diameter_angstrom: float = Field(100.0, gt=0, description="Diameter of the gold beads.")
    beads_lie: Literal["inside", "on_top", "below", "on_both"] = Field(
        "inside",
        description="Gold beads anywhere in the ice, or centred on its upper, lower or both surfaces.",
    )
    n_ice_crystals: int = Field(0, ge=0, description="Crystals on the ice seen in the untilted field.")
    ice_crystal_diameter_angstrom: float = Field(1500.0, gt=0, description="Largest diameter of a crystal.")
    thickness_angstrom: float = Field(1200.0, gt=0, description="Thickness of the ice.")
    z_offset_angstrom: float = Field(30.0, description="Centre of the ice above the tilt axis.")
    pretilt_x_deg: float = Field(0.8, description="Tilt of the ice about the specimen's x axis.")
    pretilt_y_deg: float = Field(-2.5, description="Tilt of the ice about the tilt axis.")
    particle_phase_rad: float = Field(0.022, ge=0, description="Peak phase of a particle per 2.7 A voxel.")
    gold_phase_rad: float = Field(0.05, ge=0, description="Phase of gold per 2.7 A.")
    membrane_phase_rad: float = Field(0.006, ge=0, description="Phase of a leaflet per 2.7 A.")
    crowd_phase_rad: float = Field(
        0.002, ge=0, description="Unresolved protein between particles: rms phase per 2.7 A voxel."
    )
    ice_phase_rad: float = Field(
        0.0025, ge=0, description="Amorphous ice, new in every tilt: rms phase per 2.7 A voxel."
    )
    inelastic_mean_free_path_angstrom: float = Field(
        3100.0, gt=0, description="Mean free path of electrons lost to the energy filter."
    )

    # Microscope
    voltage_kv: float = Field(300.0, gt=0, description="Acceleration voltage.")
    spherical_aberration_mm: float = Field(2.7, ge=0, description="Spherical aberration.")
    amplitude_contrast: float = Field(0.07, ge=0, lt=1, description="Fraction of amplitude contrast.")
    defocus_angstrom: float = Field(35000.0, description="Aim of the autofocus; underfocus is positive.")
    defocus_rms_angstrom: float = Field(600.0, ge=0, description="True minus aimed defocus, rms over tilts.")
    astigmatism_angstrom: float = Field(300.0, ge=0, description="Difference of the principal defoci.")
    astigmatism_angle_deg: float = Field(30.0, description="Direction of the larger defocus.")
    phase_shift_deg: float = Field(
        0.0, ge=0, lt=180, description="Of a phase plate, in the first exposure; 0 without."
    )
    phase_shift_drift_deg: float = Field(
        0.0,
        description="Phase shift gained steadily from the first to the last exposure, as a plate charges.",
    )
    handedness: Literal[1, -1] = Field(1, description="+1: defocus falls towards larger beam coordinate.")
    dose_per_tilt_per_angstrom2: float = Field(3.0, gt=0, description="Electrons per square angstrom a tilt.")

    # Camera
    camera: Literal["k3_tiff", "k3_mrc", "falcon_eer"] = Field(
        "k3_tiff", description="K3-like: TIFF, LZW, or MRC, both 8 bit. Falcon-like: EER."
    )
    image_shape_yx: tuple[int, int] = Field((512, 720), description="Frame size.")
    pixel_size_angstrom: float = Field(5.0, gt=0, description="Pixel at the specimen.")
    n_frames: int = Field(8, ge=1, description="Frames a tilt; for EER, positions the specimen takes.")
    eer_raw_frames: int = Field(320, ge=1, description="EER: raw frames a tilt.")
    mtf_at_nyquist: float = Field(0.5, gt=0, le=1, description="Detector's modulation transfer at Nyquist.")
    coincidence_loss: float = Field(
        0.05,
        ge=0,
        lt=0.3,
        description="K3: electrons lost because another fell beside them in the same readout. It takes twice "
        "this part from the noise at low frequencies; doses are of counted electrons.",
    )
    gain_rms: float = Field(0.06, ge=0, lt=0.3, description="Spread of the pixels' response.")
    gain_quarter_turns: Literal[0, 1, 2, 3] = Field(
        2, description="K3: counter-clockwise turns that orient the gain file like the movies."
    )
    gain_flip: Literal["none", "upside_down", "left_right"] = Field(
        "upside_down", description="K3: flip of the gain file after the turns."
    )
    n_dead_pixels: int = Field(40, ge=0, description="Pixels that always give 0; marked in the gain file.")
    n_hot_pixels: int = Field(10, ge=0, description="Pixels with far too many counts; not marked.")
    n_dead_columns: int = Field(1, ge=0, description="Columns that always give 0; marked in the gain file.")
    xrays_per_frame: float = Field(0.5, ge=0, description="X-ray hits per frame, mean.")

    # What goes wrong
    dark_tilts: tuple[int, ...] = Field(
        (), description="Acquisition indices at which something covers the field."
    )
    shifted_tilts: tuple[int, ...] = Field((), description="Acquisition indices at which tracking was lost.")
    blurred_tilts: tuple[int, ...] = Field(
        (),
        description="Acquisition indices at which the specimen moves within every frame, in one direction.",
    )
    blur_angstrom: float = Field(
        60.0, ge=0, description="Full width of a blurred tilt's smear in each frame."
    )
    blur_kind: Literal["vibration", "drift"] = Field(
        "vibration",
        description="Vibration: faster than the frames, which stay where they are. Drift: the stage still "
        "glides, frame after frame, by the smear's width.",
    )

    layer_thickness_angstrom: float = Field(
        250.0, gt=0, description="Depth that shares one defocus; thinner is slower and truer."
    )

    @property
    def specimen_path(self) -> Path | None:
        """The atomic model's file, None for the built-in particles."""
        return None if self.specimen == "builtin" else Path(self.specimen)
