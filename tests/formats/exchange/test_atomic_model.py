"""Atoms of small models written here."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.atomic_model import read_atoms


def line(serial, name, residue, number, x, y, z, element, occupancy=1.0, kind="ATOM"):
    """A record of a PDB file, by its columns."""
    head = f"{kind:<6}{serial:5d}  {name:<3} {residue:>3} A{number:4d}    "
    return f"{head}{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{0.0:6.2f}          {element:>2}\n"


PDB = (
    line(1, "N", "ALA", 1, 1.0, 2.0, 3.0, "N")
    + line(2, "CA", "ALA", 1, 4.0, 5.0, 6.0, "C", occupancy=0.5)
    + line(3, "H", "ALA", 1, 0.0, 0.0, 0.0, "H")
    + line(4, "O", "HOH", 2, 9.0, 9.0, 9.0, "O", kind="HETATM")
    + "END\n"
)


@pytest.mark.parametrize("suffix", [".pdb", ".pdb.gz"])
def test_atoms_have_their_electrons_and_water_and_hydrogen_are_left_out(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(gzip.compress(PDB.encode()) if suffix.endswith("gz") else PDB.encode())
    places, electrons = read_atoms(path)
    np.testing.assert_allclose(places, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(electrons, [7.0, 6.0 * 0.5])


def test_an_assembly_is_built_whole(tmp_path):
    # The second operator of the biological assembly moves the chain by 10 A along x.
    remarks = (
        "REMARK 350 BIOMOLECULE: 1\n"
        "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A\n"
        "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000\n"
        "REMARK 350   BIOMT1   2  1.000000  0.000000  0.000000       10.00000\n"
        "REMARK 350   BIOMT2   2  0.000000  1.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000\n"
    )
    (tmp_path / "two.pdb").write_text(remarks + PDB)
    places, _ = read_atoms(tmp_path / "two.pdb")
    assert sorted(places[:, 0]) == [1, 4, 11, 14]


def test_files_without_atoms_are_refused(tmp_path):
    (tmp_path / "empty.pdb").write_text("END\n")
    with pytest.raises(UserInputError, match="has no atoms; expected at least one residue"):
        read_atoms(tmp_path / "empty.pdb")
    (tmp_path / "broken.cif").write_text("no mmCIF\n")
    with pytest.raises(UserInputError, match="cannot be read as an atomic model"):
        read_atoms(tmp_path / "broken.cif")
