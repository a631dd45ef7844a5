"""Point groups as rotation matrices, with RELION's axes.

C n and D n have the n-fold axis along z, D n a two-fold one along x; T has a three-fold axis along z; O a
four-fold one; I and I2 have two-fold axes along x, y and z, I1 the same turned by 90 degrees about z, I3 and
I4 a five-fold axis along z. Operators of RELION 3.1 (``relion_refine --print_symmetry_ops``) are the oracle.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.errors import UserInputError

__all__ = ["asymmetric_unit", "axes_leave_no_choice", "rotation_classes", "symmetry_matrices"]

Matrices = NDArray[np.float64]

_GOLDEN = (1.0 + 5.0**0.5) / 2.0
"""The golden ratio."""
# Generators (order, axis). Five-fold axes of an icosahedron whose two-fold axes are x, y and z lie at
# (1, 0, golden) and its even permutations; the other setting is that one turned by 90 degrees about z.
_GENERATORS: dict[str, tuple[tuple[int, tuple[float, float, float]], ...]] = {
    "T": ((3, (0, 0, 1)), (2, (0, 2.0**0.5, 1))),
    "O": ((4, (0, 0, 1)), (3, (1, 1, 1))),
    "I2": ((2, (0, 0, 1)), (5, (1, 0, _GOLDEN))),
    "I1": ((2, (0, 0, 1)), (5, (0, 1, _GOLDEN))),
    "I3": ((5, (0, 0, 1)), (2, (-1, 0, _GOLDEN))),
    "I4": ((5, (0, 0, 1)), (2, (1, 0, _GOLDEN))),
}


def symmetry_matrices(group: str) -> Matrices:
    """Rotations of a point group, ``(n, 3, 3)``, the identity first.

    group : "C1", "C6", "D3", "T", "O", "I" (as I2) or "I1" to "I4", in either case. Raises UserInputError for
    another name.
    """
    name = group.strip().upper()
    name = "I2" if name == "I" else name
    match = re.fullmatch(r"([CD])([1-9]\d?)", name)
    if match:
        order = int(match[2])
        generators: list[Matrices] = [_about((0.0, 0.0, 1.0), 360.0 / order)]
        if match[1] == "D":
            generators.append(_about((1.0, 0.0, 0.0), 180.0))
    elif name in _GENERATORS:
        generators = [_about(axis, 360.0 / order) for order, axis in _GENERATORS[name]]
    else:
        raise UserInputError(
            f"unknown point group {group!r}; expected C1, C2, ..., D2, D3, ..., T, O, I or I1 to I4"
        )
    return _closure(generators)


def asymmetric_unit(matrices: ArrayLike, group: ArrayLike) -> NDArray[np.bool_]:
    """Which rotations ``(n, 3, 3)`` are nearest to the identity among their equivalents ``R S``, ``(n,)``.

    They hold one rotation of each class; at a border, ties keep all of them.
    """
    rotations, operators = np.asarray(matrices, dtype=np.float64), np.asarray(group, dtype=np.float64)
    traces = np.einsum("nik,mki->nm", rotations, operators)
    return np.asarray(np.trace(rotations, axis1=1, axis2=2) >= traces.max(axis=1) - 1e-9)


def rotation_classes(operators: Matrices) -> list[tuple[int, float, NDArray[np.int64]]]:
    """Conjugacy classes of the rotations ``(n, 3, 3)``, with those of the inverses; without the identity.

    The identity comes first. Each class has the order of its axis in the group, the angle in degrees, and the
    indices of its operators.
    """
    left = list(range(1, len(operators)))
    found = []
    while left:
        first = operators[left[0]]
        turned = np.einsum("gab,bc,gdc->gad", operators, first, operators)
        both = np.concatenate([turned, np.swapaxes(turned, 1, 2)])
        members = [i for i in left if np.abs(both - operators[i]).max(axis=(1, 2)).min() < 1e-6]
        _, vectors = np.linalg.eigh(0.5 * (first + first.T))
        axis = vectors[:, -1]
        order = int((np.abs(operators @ axis - axis).max(axis=1) < 1e-6).sum())
        angle_deg = float(np.degrees(np.arccos(np.clip(0.5 * (np.trace(first) - 1.0), -1.0, 1.0))))
        found.append((order, angle_deg, np.array(members)))
        left = [i for i in left if i not in members]
    return found


def axes_leave_no_choice(group: str) -> bool:
    """Whether the axes of a group place a particle up to the group's own rotations, as those of O and I do.

    A cyclic axis leaves azimuth and end open, a dihedral group a turn by half an angle, a tetrahedron one by
    90 degrees.
    """
    return group.strip().upper().startswith(("O", "I"))


def _about(axis: tuple[float, float, float], angle_deg: float) -> Matrices:
    """Right-handed rotation about an axis, ``(3, 3)`` (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.deg2rad(angle_deg)
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def _closure(generators: list[Matrices]) -> Matrices:
    """All products of the generators."""
    found = [np.eye(3)]
    grown = True
    while grown:
        grown = False
        for element in list(found):
            for generator in generators:
                product = element @ generator
                if min(np.abs(product - known).max() for known in found) > 1e-6:
                    found.append(product)
                    grown = True
    return np.array(found)
