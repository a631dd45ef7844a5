"""Atomic models (PDB or mmCIF, may be gzipped) as points."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import UserInputError

__all__ = ["ATOMIC_MODEL_SUFFIXES", "read_atoms"]

ATOMIC_MODEL_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz", ".mmcif.gz")


def read_atoms(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions ``(n, 3)`` in angstrom, in the file's frame, and electrons ``(n,)`` of the first assembly.

    Water and hydrogen are left out. Raises UserInputError if the file contains no atoms or is none of these.
    """
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise UserInputError(
            f"{path} cannot be read as an atomic model ({error}); expected PDB or mmCIF"
        ) from error
    if not len(structure):
        raise UserInputError(f"the atomic model {path} has no atoms; expected at least one residue")
    structure.setup_entities()
    structure.remove_waters()
    structure.remove_hydrogens()
    if structure.assemblies:
        structure.transform_to_assembly(structure.assemblies[0].name, gemmi.HowToNameCopiedChain.AddNumber)
    atoms = [
        (*atom.pos.tolist(), atom.element.atomic_number * atom.occ)
        for chain in structure[0]
        for residue in chain
        for atom in residue
    ]
    if not atoms:
        raise UserInputError(f"the atomic model {path} has no atoms; expected at least one residue")
    table = np.array(atoms)
    return table[:, :3], table[:, 3]
