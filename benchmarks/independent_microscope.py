"""A second simulator of tilt series, which shares no code with `cryoloom.simulate`: for blind trials.

It differs where simulators usually do: particles are projected in Fourier space from a map and added in
layers of depth, each with a transfer function of its own; the ice scatters before the lens, so its noise has
rings, of the depth at which the tilted ice lies; gold absorbs and shifts the phase; there are vesicles, and a
crowd of small dense blobs to both surfaces; the specimen may be bent; the field wanders from tilt to tilt and
drifts within a movie. Everything is in angstrom and in the specimen's frame: x across the tilt axis, z along
the beam at 0 degrees.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import mrcfile
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

__all__ = ["IndependentScene", "image_rows", "write_session"]

Array = NDArray[np.float64]

SPHERICAL_ABERRATION_ANGSTROM, AMPLITUDE_CONTRAST = 2.7e7, 0.08
ASTIGMATISM_ANGSTROM, ASTIGMATISM_AXIS_DEG = 400.0, 25.0
B_FACTOR_ANGSTROM2 = 60.0
MEAN_FREE_PATH_ANGSTROM = 3500.0
LAYER_ANGSTROM = 80.0  # of depth, that share a defocus
GOLD_PHASE, GOLD_ABSORPTION = 0.006, 0.012  # rad and nepers per angstrom
LIPID_PHASE = 0.002  # rad per angstrom in a leaflet
LEAFLET_ANGSTROM, LEAFLET_WIDTH_ANGSTROM = 18.0, 6.0  # from the membrane's middle; deviation
FRAME_STEP_ANGSTROM = 6.0  # of the first frame; later ones move less


@dataclass(frozen=True)
class IndependentScene:
    """What a session shows and how it is taken."""

    thickness: float = 1200.0
    middle: float = 0.0
    """Height of the middle of the ice at x = y = 0."""
    sagitta: float = 0.0
    """Height by which the ice is bent upwards 1000 angstrom from the middle."""
    n_particles: int = 140
    n_beads: int = 8
    """Both in the untilted field."""
    beads: Literal["none", "top", "bottom", "both"] = "both"
    n_vesicles: int = 5
    n_crowd: int = 3000
    particle_phase: float = 0.12
    gold_diameter: float = 100.0
    handedness: int = 1
    tilt_axis_deg: float = -84.3
    tilt_offset_deg: float = 3.0
    largest_tilt_deg: float = 60.0
    tilt_step_deg: float = 3.0
    defocus: float = 32000.0
    dose_per_tilt: float = 3.0
    n_frames: int = 5
    wander: float = 20.0
    """Rms by which the field misses the specimen."""
    ice_noise: float = 0.02
    n_pixels: int = 640
    pixel_size: float = 2.7
    voltage_kv: float = 300.0

    @property
    def field(self) -> float:
        """Side of the field."""
        return self.n_pixels * self.pixel_size


@dataclass(frozen=True)
class Contents:
    """Positions ``(n, 3)`` and sizes of what the ice contains, also beyond the untilted field."""

    particles: Array
    rotations: Array
    beads: Array
    bead_radii: Array
    vesicles: Array
    vesicle_radii: Array
    crowd: Array
    crowd_radii: Array
    crowd_phases: Array


def image_rows(tilt_deg: float, axis_deg: float) -> Array:
    """Rotation ``(3, 3)`` from the specimen to the image: x and y in it, z towards the source."""
    turned = Rotation.from_euler("y", tilt_deg, degrees=True)
    return (Rotation.from_euler("z", axis_deg, degrees=True) * turned).as_matrix()


def contents_of(scene: IndependentScene, rng: np.random.Generator) -> Contents:
    """Draw everything that any tilt can show, with the densities of the untilted field."""
    half_x = 0.525 * scene.field / np.cos(np.deg2rad(scene.largest_tilt_deg)) + scene.thickness
    half_y = 0.625 * scene.field
    more = 4 * half_x * half_y / scene.field**2
    half_z = scene.thickness / 2

    def placed(n: int, depth: Any) -> Array:
        xy = rng.uniform(-1, 1, (n, 2)) * [half_x, half_y]
        bent = scene.middle + scene.sagitta * (xy**2).sum(axis=1) / 1e6
        return np.column_stack([xy, bent + depth])

    particles: list[Array] = []
    while len(particles) < int(scene.n_particles * more):
        (one,) = placed(1, rng.uniform(70 - half_z, half_z - 70))
        if all(np.sum((one - other) ** 2) > 130.0**2 for other in particles):
            particles.append(one)
    n_beads = 0 if scene.beads == "none" else int(scene.n_beads * more)
    side = {"top": np.ones(n_beads), "bottom": -np.ones(n_beads)}.get(
        scene.beads, rng.choice([-1.0, 1.0], n_beads)
    )
    n_vesicles = int(4 * scene.n_vesicles)
    radii = rng.uniform(120, max(200.0, min(450.0, half_z - 60)), n_vesicles)
    room = np.maximum(half_z - radii - 30, 0)
    n_crowd = int(scene.n_crowd * more)
    return Contents(
        particles=np.array(particles).reshape(-1, 3),
        rotations=Rotation.random(len(particles), random_state=rng).as_matrix().reshape(-1, 3, 3),
        beads=placed(n_beads, half_z * side),
        bead_radii=scene.gold_diameter / 2 * rng.normal(1, 0.05, n_beads),
        vesicles=placed(n_vesicles, rng.uniform(-1, 1, n_vesicles) * room),
        vesicle_radii=radii,
        crowd=placed(n_crowd, rng.uniform(-half_z, half_z, n_crowd)),
        crowd_radii=rng.uniform(10, 25, n_crowd),
        crowd_phases=scene.particle_phase * rng.uniform(0.15, 0.6, n_crowd),
    )


class ParticleProjector:
    """Central slices of a map's transform; the map is cubic and its voxel size is that of its header."""

    def __init__(self, path: Path, pixel_size: float) -> None:
        with mrcfile.open(path) as file:
            density, voxel = np.array(file.data, dtype=np.float64), float(file.voxel_size.x)
        side = 2 * len(density)
        low = side // 2 - len(density) // 2
        padded = np.zeros((side,) * 3)
        padded[(slice(low, low + len(density)),) * 3] = density
        # Linear interpolation between samples of the transform multiplies the map by this.
        fall = np.sinc((np.arange(side) - side // 2) / side) ** 2
        padded /= fall[:, None, None] * fall[None, :, None] * fall[None, None, :]
        self._transform = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(padded)))
        self.side = 2 * int(np.ceil(0.75 * len(density) * voxel / pixel_size))
        ky, kx = np.meshgrid(*(np.arange(self.side) - self.side // 2,) * 2, indexing="ij")
        steps = side * voxel / (self.side * pixel_size)
        self._inside = np.hypot(kx, ky) < min(self.side // 2 - 2, (side // 2 - 2) / steps)
        self._k = np.stack([kx[self._inside], ky[self._inside]]) / self.side  # cycles a pixel
        self._samples = np.stack([kx[self._inside], ky[self._inside], 0 * kx[self._inside]]) * steps
        self._scale = (voxel / pixel_size) ** 2 / np.abs(density.sum(axis=0)).max()  # darkest beam: 1 rad

    def tile(self, rotation: Array, offset_xy_px: Array) -> Array:
        """Phase ``(y, x)`` of a particle, rotation from its map to the image, moved by less than a pixel."""
        at = (rotation.T @ self._samples)[::-1] + len(self._transform) // 2
        values = map_coordinates(self._transform.real, at, order=1) + 1j * map_coordinates(
            self._transform.imag, at, order=1
        )
        spectrum = np.zeros(self._inside.shape, dtype=complex)
        spectrum[self._inside] = values * np.exp(-2j * np.pi * (offset_xy_px @ self._k))
        tile = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(spectrum))).real
        return np.asarray(tile * self._scale)


@dataclass
class Exit:
    """What the specimen does to the wave in one tilt: phases in layers of depth, and absorption."""

    n_pixels: int
    layers: dict[int, Array] = field(default_factory=dict)

    def layer(self, depth: float) -> Array:
        """The image ``(y, x)`` that collects the phases of a depth."""
        return self.layers.setdefault(round(depth / LAYER_ANGSTROM), np.zeros((self.n_pixels,) * 2))

    @staticmethod
    def add(image: Array, tile: Array, x: int, y: int) -> None:
        """Add a tile whose middle, index side // 2, lies at a pixel; what is outside the image is lost."""
        x, y = x - tile.shape[1] // 2, y - tile.shape[0] // 2
        x0, y0 = max(0, x), max(0, y)
        x1, y1 = min(image.shape[1], x + tile.shape[1]), min(image.shape[0], y + tile.shape[0])
        if x0 < x1 and y0 < y1:
            image[y0:y1, x0:x1] += tile[y0 - y : y1 - y, x0 - x : x1 - x]


def specimen_in_image(
    scene: IndependentScene, contents: Contents, particle: ParticleProjector, rows: Array, shift_xy: Array
) -> tuple[Exit, Array]:
    """Phases of everything in one tilt, and the absorption of gold ``(y, x)``."""
    n, pixel = scene.n_pixels, scene.pixel_size
    wave, absorption = Exit(n), np.zeros((n, n))

    def seen(points: Array, reach_px: float) -> list[tuple[int, int, int, Array, float]]:
        """Index, pixel x and y, rest within the pixel and depth of the points that touch the image."""
        at = points @ rows.T
        xy = (at[:, :2] + shift_xy) / pixel + n // 2
        near = ((xy > -reach_px) & (xy < n + reach_px)).all(axis=1)
        whole = np.floor(xy).astype(int)
        return [(i, *whole[i], xy[i] - whole[i], at[i, 2]) for i in np.flatnonzero(near)]

    def distance(half: int, rest: Array) -> Array:
        ticks = np.arange(2 * half) - half
        return np.hypot(*np.meshgrid(ticks - rest[0], ticks - rest[1])) * pixel

    for i, x, y, rest, depth in seen(contents.particles, particle.side):
        tile = scene.particle_phase * particle.tile(rows @ contents.rotations[i], rest)
        wave.add(wave.layer(depth), tile, x, y)
    for i, x, y, rest, depth in seen(contents.crowd, 100 / pixel):
        radius = contents.crowd_radii[i]
        r = distance(int(4 * radius / pixel) + 2, rest)
        wave.add(wave.layer(depth), contents.crowd_phases[i] * np.exp(-0.5 * (r / radius) ** 2), x, y)
    for i, x, y, rest, depth in seen(contents.vesicles, 600 / pixel):
        radius = contents.vesicle_radii[i]
        r = distance(int((radius + 60) / pixel), rest)
        wave.add(wave.layer(depth), _shell(r, radius), x, y)
    for i, x, y, rest, depth in seen(contents.beads, scene.gold_diameter / pixel):
        radius = contents.bead_radii[i]
        r = distance(int(radius / pixel) + 6, rest)
        path = 2 * np.sqrt(np.maximum(radius**2 - r**2, 0))
        wave.add(wave.layer(depth), GOLD_PHASE * path, x, y)
        wave.add(absorption, GOLD_ABSORPTION * path, x, y)
    return wave, absorption


def _shell(r: Array, radius: float) -> Array:
    """Phase of a bilayer sphere at distances from its middle in projection."""
    at = np.linspace(0, r.max(), 300)
    z = np.linspace(-radius - 60, radius + 60, 161)
    off = np.hypot(at[:, None], z[None]) - radius
    leaflets = sum(
        np.exp(-0.5 * ((off + s) / LEAFLET_WIDTH_ANGSTROM) ** 2)
        for s in (-LEAFLET_ANGSTROM, LEAFLET_ANGSTROM)
    )
    return np.asarray(np.interp(r, at, LIPID_PHASE * np.sum(leaflets, axis=1) * (z[1] - z[0])))


class Lens:
    """Transfer functions of the session's images, as spectra of real images ``(y, x // 2 + 1)``."""

    def __init__(self, scene: IndependentScene) -> None:
        volts = scene.voltage_kv * 1e3
        self.wavelength = 12.2643 / np.sqrt(volts + 0.97845e-6 * volts**2)
        self.fy = np.fft.fftfreq(scene.n_pixels, scene.pixel_size)[:, None]
        self.fx = np.fft.rfftfreq(scene.n_pixels, scene.pixel_size)[None]
        self.k2 = self.fx**2 + self.fy**2
        self._angle = 2 * (np.arctan2(self.fy, self.fx) - np.deg2rad(ASTIGMATISM_AXIS_DEG))

    def transfer(self, defocus: float) -> Array:
        """Of a phase, at a mean defocus; positive is underfocus."""
        local = defocus + ASTIGMATISM_ANGSTROM / 2 * np.cos(self._angle)
        third = np.pi / 2 * SPHERICAL_ABERRATION_ANGSTROM * self.wavelength**3 * self.k2**2
        chi = np.pi * self.wavelength * local * self.k2 - third
        real = np.sqrt(1 - AMPLITUDE_CONTRAST**2)
        return np.asarray(-(real * np.sin(chi) + AMPLITUDE_CONTRAST * np.cos(chi)))

    def fading(self, dose: float) -> Array:
        """By radiation: amplitude left after a dose (critical exposure of Grant & Grigorieff 2015)."""
        critical = 1.6 * (0.245 * np.maximum(np.sqrt(self.k2), 1e-3) ** -1.665 + 2.81)
        return np.asarray(np.exp(-0.5 * dose / critical))

    def moved(self, shift_xy: Array) -> Array:
        """Phase factor of a shift."""
        return np.asarray(np.exp(-2j * np.pi * (self.fx * shift_xy[0] + self.fy * shift_xy[1])))


def ice_layers(
    scene: IndependentScene, tilt_deg: float, shift_xy: Array, rng: np.random.Generator
) -> Iterator[tuple[float, Array]]:
    """Depths, and the noise ``(y, x)`` of the ice about each, where the tilted ice reaches that depth."""
    rows = image_rows(tilt_deg, scene.tilt_axis_deg)
    ticks = (np.arange(scene.n_pixels) - scene.n_pixels // 2) * scene.pixel_size
    x, y = np.meshgrid(ticks - shift_xy[0], ticks - shift_xy[1])
    normal = rows[:, 2]
    middle = (scene.middle - normal[0] * x - normal[1] * y) / normal[2]
    if scene.sagitta:
        on_plane = np.tensordot(rows[:, :2].T, np.stack([x, y, middle]), axes=1)
        middle += scene.sagitta * (on_plane**2).sum(axis=0) / 1e6 / normal[2]
    path = scene.thickness / normal[2]
    sd = scene.ice_noise * np.sqrt(path / 1000) * 2.7 / scene.pixel_size
    lowest, highest = (middle.min() - path / 2) / LAYER_ANGSTROM, (middle.max() + path / 2) / LAYER_ANGSTROM
    for layer in range(round(lowest), round(highest) + 1):
        low = np.maximum((layer - 0.5) * LAYER_ANGSTROM, middle - path / 2)
        high = np.minimum((layer + 0.5) * LAYER_ANGSTROM, middle + path / 2)
        part = np.clip(high - low, 0, None) / path
        if part.any():
            yield layer * LAYER_ANGSTROM, rng.normal(0, sd, part.shape) * np.sqrt(part)


def movie(
    scene: IndependentScene,
    wave: Exit,
    absorption: Array,
    lens: Lens,
    tilt_deg: float,
    shift_xy: Array,
    defocus: float,
    dose: float,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Counts ``(frame, y, x)`` of one tilt; defocus : of a point at depth 0."""
    n = scene.n_pixels
    path = scene.thickness / np.cos(np.deg2rad(tilt_deg))
    spectrum = np.zeros((n, n // 2 + 1), dtype=complex)
    for depth, ice in ice_layers(scene, tilt_deg, shift_xy, rng):
        spectrum += 2 * np.fft.rfft2(ice) * lens.transfer(defocus - scene.handedness * depth)
    fading = lens.fading(dose + scene.dose_per_tilt / 2)
    for layer, phase in wave.layers.items():
        depth = layer * LAYER_ANGSTROM
        spectrum += 2 * np.fft.rfft2(phase) * lens.transfer(defocus - scene.handedness * depth) * fading
    spectrum *= np.exp(-B_FACTOR_ANGSTROM2 / 4 * lens.k2)
    gold = np.fft.rfft2(np.exp(-absorption) - 1)
    fall = np.exp(-np.arange(scene.n_frames) / 1.5)[:, None]
    drift = np.cumsum(rng.normal(0, FRAME_STEP_ANGSTROM, (scene.n_frames, 2)) * fall, axis=0)
    electrons = np.exp(-path / MEAN_FREE_PATH_ANGSTROM) * scene.dose_per_tilt * scene.pixel_size**2
    frames = []
    for shift in drift - drift.mean(axis=0):
        by = lens.moved(shift)
        seen = (1 + np.fft.irfft2(spectrum * by, s=(n, n))) * (1 + np.fft.irfft2(gold * by, s=(n, n)))
        frames.append(rng.poisson(np.clip(seen, 0.01, None) * electrons / scene.n_frames))
    return np.minimum(frames, 255).astype(np.uint8)


def write_session(scene: IndependentScene, seed: int, particle: Path, folder: Path) -> dict[str, Any]:
    """Movies and an mdoc as SerialEM writes them; returns the truth, also written beside the folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    contents, lens = contents_of(scene, rng), Lens(scene)
    projector = ParticleProjector(particle, scene.pixel_size)
    reach = scene.largest_tilt_deg
    angles = np.arange(-reach, reach + 0.1, scene.tilt_step_deg)
    order = sorted(angles, key=lambda angle: (round(abs(angle) / scene.tilt_step_deg), angle < 0))
    time = datetime.datetime(2025, 3, 4, 9, 0, 0)
    tilts, sections = [], {}
    for acquired, nominal in enumerate(order):
        tilt_deg = float(nominal) + scene.tilt_offset_deg
        rows, shift = image_rows(tilt_deg, scene.tilt_axis_deg), rng.normal(0, scene.wander, 2)
        defocus = scene.defocus + rng.normal(0, 400) + 150 * acquired / len(order)
        wave, absorption = specimen_in_image(scene, contents, projector, rows, shift)
        dose = acquired * scene.dose_per_tilt
        counts = movie(scene, wave, absorption, lens, tilt_deg, shift, defocus, dose, rng)
        name = f"tomo1_{acquired:03d}_{nominal:.1f}.tif"
        tifffile.imwrite(folder / name, counts[:, ::-1])  # rows of a TIFF begin at the top
        tilts.append(
            {"nominal": float(nominal), "tilt": tilt_deg, "shift": shift.tolist(), "defocus": float(defocus)}
        )
        sections[float(nominal)] = _section(
            scene, nominal, name, time + datetime.timedelta(seconds=45 * acquired)
        )
    written = [f"[ZValue = {z}]\n{sections[float(angle)]}" for z, angle in enumerate(angles)]
    (folder / "tomo1.mdoc").write_text(_head(scene) + "\n".join(written))
    truth = {"scene": asdict(scene), "tilts": tilts, "positions": contents.particles.tolist()}
    folder.with_name(f"{folder.name}_truth.json").write_text(json.dumps(truth))
    return truth


def _head(scene: IndependentScene) -> str:
    return (
        f"PixelSpacing = {scene.pixel_size}\nVoltage = {scene.voltage_kv:.0f}\nImageFile = tomo1.st\n"
        f"ImageSize = {scene.n_pixels} {scene.n_pixels}\nDataMode = 1\n\n"
        "[T = SerialEM: Acquired on Titan Krios]\n\n"
        f"[T =     Tilt axis angle = {scene.tilt_axis_deg}, binning = 1  spot = 8  camera = 0]\n\n"
    )


def _section(scene: IndependentScene, nominal: float, name: str, time: datetime.datetime) -> str:
    return (
        f"TiltAngle = {nominal:.2f}\nExposureDose = {scene.dose_per_tilt}\n"
        f"PixelSpacing = {scene.pixel_size}\n"
        f"Defocus = -{scene.defocus / 1e4:.1f}\nRotationAngle = {scene.tilt_axis_deg + 90:.1f}\n"
        f"SubFramePath = X:\\data\\{name}\nNumSubFrames = {scene.n_frames}\n"
        f"DateTime = {time:%d-%b-%Y  %H:%M:%S}\n"
    )
