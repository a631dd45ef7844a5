"""What this machine has: devices, memory, outside programs, file system."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from cryoloom.engine.environment import describe_environment

__all__ = ["Finding", "examine"]

_PROGRAMS = {
    "relion_refine": "RELION: averaging on exported series",
    "tilt": "IMOD: work on exported series, and look at files",
    "AreTomo3": "alignment and reconstruction, to compare",
    "AreTomo2": "alignment and reconstruction, to compare",
    "ctffind": "CTF, to compare",
    "MotionCor3": "motion correction, to compare",
    "WarpTools": "work on exported series with Warp and M",
    "sbatch": "Slurm: --executor slurm",
}
"""Programs that cryoloom does not need, and what each would be for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at, what was found, and whether cryoloom can work with it."""

    what: str
    found: str
    fit: bool


def examine() -> list[Finding]:
    """Look at the machine; takes a second or two."""
    environment = describe_environment()
    memory = psutil.virtual_memory()
    findings = [
        Finding("cryoloom", f"{environment['cryoloom']}, Python {environment['python']}", True),
        Finding("cores", f"{environment['cores']}", True),
        Finding(
            "memory",
            f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
            memory.available > 4 << 30,
        ),
        _gpu(),
        _disk(Path.cwd()),
        _scratch(),
    ]
    for program, purpose in _PROGRAMS.items():
        place = shutil.which(program)
        found = f"{place or 'not found; optional'} ({purpose})"
        findings.append(Finding(program, found, place is not None))
    return findings


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("GPU", "none usable; the processor does everything", False)
    try:
        value = float((torch.ones(1000, device="cuda") * 2).sum())
    except RuntimeError as error:
        return Finding("GPU", f"{torch.cuda.get_device_name(0)} fails: {error}", False)
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Finding("GPU", names, value == 2000.0)


def _disk(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    return Finding(
        f"disk of {folder}",
        f"{usage.free / 2**30:.0f} of {usage.total / 2**30:.0f} GiB free",
        usage.free > 20 << 30 and os.access(folder, os.W_OK),
    )


def _scratch() -> Finding:
    folder = Path(tempfile.gettempdir())
    return Finding(f"scratch {folder}", f"{shutil.disk_usage(folder).free / 2**30:.0f} GiB free", True)
