"""Particles as clouds of point scatterers: one for each backbone and side chain, three for a nucleotide.

Points are exact under rotation and sub-pixel shifts and keep the depth of every part; at the pixel sizes
of tomography (2 A and more) nothing finer than a residue's halves is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import UserInputError

__all__ = ["REFERENCE_VOXEL_ANGSTROM", "ParticleModel", "builtin_models", "model_from_file"]

# Phases in the parameters are per voxel of this size, at which they were matched to real images.
REFERENCE_VOXEL_ANGSTROM = 2.7
_BACKBONE = {"N", "CA", "C", "O", "OXT"}
_PHOSPHATE = {"P", "OP1", "OP2", "OP3", "O1P", "O2P", "O5'", "O3'"}
_SUGAR = {"C1'", "C2'", "C3'", "C4'", "C5'", "O2'", "O4'"}


@dataclass(frozen=True, slots=True)
class ParticleModel:
    """Point scatterers about their centre: ``(n, 3)`` angstrom, and ``(n,)`` projected phase in rad A^2."""

    species: str
    points_xyz_angstrom: NDArray[np.float32]
    weights: NDArray[np.float32]

    @property
    def radius_angstrom(self) -> float:
        """Distance of the farthest point from the centre."""
        return float(np.linalg.norm(self.points_xyz_angstrom, axis=1).max())


def model_from_file(path: Path, peak_phase_rad: float) -> ParticleModel:
    """Particle from an atomic model (PDB or mmCIF, may be gzipped), all chains of its first assembly."""
    if not path.is_file():
        raise UserInputError(f"no atomic model at {path}; give an mmCIF or PDB file, or 'builtin'")
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.remove_waters()
    structure.remove_hydrogens()
    if structure.assemblies:
        structure.transform_to_assembly(structure.assemblies[0].name, gemmi.HowToNameCopiedChain.AddNumber)
    points, electrons = [], []
    for chain in structure[0]:
        for residue in chain:
            for group in _groups(residue):
                numbers = np.array([atom.element.atomic_number for atom in group], dtype=np.float64)
                places = np.array([atom.pos.tolist() for atom in group])
                points.append(numbers @ places / numbers.sum())
                electrons.append(numbers.sum())
    if not points:
        raise UserInputError(f"the atomic model {path} has no atoms; give one with at least one residue")
    return _normalised(path.name.split(".")[0], np.array(points), np.array(electrons), peak_phase_rad)


def _groups(residue: gemmi.Residue) -> list[list[gemmi.Atom]]:
    """Atoms of a residue by the point that stands for them."""
    groups: dict[str, list[gemmi.Atom]] = {}
    for atom in residue:
        name = atom.name
        if name in _BACKBONE:
            key = "backbone"
        elif name in _PHOSPHATE:
            key = "phosphate"
        elif name in _SUGAR:
            key = "sugar"
        else:
            key = "side"
        groups.setdefault(key, []).append(atom)
    return list(groups.values())


def builtin_models(peak_phase_rad: float, rng: np.random.Generator) -> tuple[ParticleModel, ...]:
    """A hollow shell of 24 like parts, and a particle of two domains with dense rods: no file needed."""
    return (_shell_of_24(peak_phase_rad, rng), _two_domains(peak_phase_rad, rng))


# One backbone or side-chain point for each 65 A^3 of protein (134 A^3 a residue).
_POINT_VOLUME = 65.0


def _shell_of_24(peak_phase_rad: float, rng: np.random.Generator) -> ParticleModel:
    """Ferritin's proportions: shell of 40 to 62 A, octahedral, a bundle of rods as subunit."""
    unit = _rods(rng, n_rods=4, length=45.0, radius=6.0, spread=9.0)
    turns = np.array([op for op in _octahedral_rotations()])
    # A general direction, so that the 24 copies do not fall on each other; rods lie along the shell.
    centre = 51.0 * np.array([0.43, 0.79, 0.437]) / np.linalg.norm([0.43, 0.79, 0.437])
    lying = np.linalg.qr(
        np.column_stack([np.cross(centre, [0.2, 0.1, 1.0]), np.cross(centre, [1.0, 0, 0]), centre])
    )[0]
    placed = unit @ lying.T + centre
    points = np.concatenate([placed @ turn.T for turn in turns])
    return _normalised("shell", points, np.ones(len(points)), peak_phase_rad)


def _octahedral_rotations() -> list[NDArray[np.float64]]:
    """The 24 rotations of a cube: signed permutations with determinant 1."""
    from itertools import permutations, product

    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return found


def _two_domains(peak_phase_rad: float, rng: np.random.Generator) -> ParticleModel:
    """A ribosome's proportions: domains of about 200 and 140 A with a cleft, rods of twice the density."""
    body = _rods(rng, n_rods=220, length=55.0, radius=9.0, spread=62.0)
    head = _rods(rng, n_rods=90, length=45.0, radius=9.0, spread=42.0) * (1.25, 0.8, 0.8)
    head = head + np.array([15.0, 0.0, 118.0])
    heavy = np.concatenate([body[::3], head[::3]])
    points = np.concatenate([body, head, heavy + rng.normal(0, 1.0, heavy.shape)])
    return _normalised("two_domains", points - points.mean(axis=0), np.ones(len(points)), peak_phase_rad)


def _rods(
    rng: np.random.Generator, *, n_rods: int, length: float, radius: float, spread: float
) -> NDArray[np.float64]:
    """Points of rods (helices) strewn about the origin, ``(n, 3)``; ``spread`` is the cluster's radius."""
    per_rod = max(4, round(np.pi * radius**2 * length / _POINT_VOLUME / 2))
    if n_rods <= 4:
        centres = spread * np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]])[:n_rods] / np.sqrt(2)
        directions = np.tile([1.0, 0.0, 0.0], (n_rods, 1))
        centres = centres[:, [2, 0, 1]]
    else:
        directions = rng.normal(size=(n_rods, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        away = rng.normal(size=(n_rods, 3))
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        centres = away * spread * rng.uniform(0, 1, (n_rods, 1)) ** (1 / 3)
    # A helix of 1.5 A rise and 100 deg a residue, stretched to the rod's length.
    along = np.linspace(-0.5, 0.5, per_rod)
    angle = np.deg2rad(100.0) * np.arange(per_rod)
    side = np.linalg.qr(np.stack([directions, rng.normal(size=directions.shape)], axis=-1))[0][..., 1]
    third = np.cross(directions, side)
    rods = (
        centres[:, None]
        + along[:, None] * length * directions[:, None]
        + radius * 0.6 * (np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * third[:, None])
    )
    return rods.reshape(-1, 3)


def _normalised(
    species: str, points: NDArray[np.float64], weights: NDArray[np.float64], peak_phase_rad: float
) -> ParticleModel:
    """Centred, and scaled so that its densest reference voxels delay the wave by the peak phase."""
    voxel = REFERENCE_VOXEL_ANGSTROM
    centred = points - np.average(points, axis=0, weights=weights)
    index = (centred - centred.min(axis=0)) / voxel + 3
    shape = tuple(int(n) + 4 for n in index.max(axis=0))
    density = np.zeros(shape)
    # Half a voxel of blur stands for the atoms' size and their disorder.
    for offset in np.ndindex(3, 3, 3):
        cell = np.round(index).astype(int) + np.array(offset) - 1
        spread = np.exp(-((cell - index) ** 2).sum(axis=1) / (2 * 0.7**2)) / (2 * np.pi * 0.7**2) ** 1.5
        np.add.at(density, tuple(cell.T), weights * spread)
    # A few voxels where heavy atoms meet do not stand for the peaks a map shows: 1 in 200 may be higher.
    peak = np.percentile(density[density > 0.1 * density.max()], 99.5)
    # Phase per voxel is (rad A^2) / voxel^2 for what the voxel holds.
    scale = peak_phase_rad * voxel**2 / peak
    return ParticleModel(species, centred.astype(np.float32), (weights * scale).astype(np.float32))
