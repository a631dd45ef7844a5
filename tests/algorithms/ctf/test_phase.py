"""The phase of the CTF is one formula for NumPy and torch, and needs no torch to be imported."""

import subprocess
import sys

import numpy as np
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.phase import ctf_phase, directional_defocus
from cryoloom.model import Microscope


def test_numpy_and_torch_agree(rng):
    angle, squared = rng.uniform(-np.pi, np.pi, 50), rng.uniform(0, 0.04, 50)
    of_arrays = directional_defocus(angle, 31000.0, 28000.0, 37.0)
    of_tensors = directional_defocus(torch.from_numpy(angle), 31000.0, 28000.0, 37.0)
    assert_allclose(of_arrays, of_tensors.numpy(), rtol=1e-13)
    phase = ctf_phase(torch.from_numpy(squared), of_tensors, Microscope(), 20.0)
    assert_allclose(ctf_phase(squared, of_arrays, Microscope(), 20.0), phase.numpy(), rtol=1e-13)
    assert_allclose(directional_defocus(np.float64(np.deg2rad(37.0)), 31000.0, 28000.0, 37.0), 31000.0)


def test_torch_is_not_imported():
    program = "import sys, cryoloom.algorithms.ctf.phase; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
