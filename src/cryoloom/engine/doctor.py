"""Check of this machine: devices, memory, outside programs, file system."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from cryoloom.contract import all_steps
from cryoloom.contract.program import Program
from cryoloom.engine.environment import describe_environment
from cryoloom.engine.worker.program_finder import find_program, require_program
from cryoloom.engine.worker.program_settings import load_program_settings, settings_path
from cryoloom.errors import UserInputError

__all__ = ["Finding", "examine"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check, its result, and whether cryoloom can work with it."""

    what: str
    found: str
    fit: bool


def examine() -> list[Finding]:
    """Check the machine; takes a second or two."""
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
    slurm = shutil.which("sbatch")
    findings.append(Finding("Slurm", slurm or "not found; optional (--executor slurm)", slurm is not None))
    return [*findings, _program_settings(), *_programs()]


def _program_settings() -> Finding:
    """The settings file of outside programs."""
    path = settings_path()
    try:
        settings = load_program_settings()
    except UserInputError as error:
        return Finding("program settings", error.message, False)
    if not path.is_file():
        return Finding("program settings", f"none at {path}; programs are searched on the PATH", True)
    return Finding("program settings", f"{path}: {', '.join(settings.suites) or 'no suites'}", True)


def _programs() -> list[Finding]:
    """Every program that a step can run: place, version and purpose."""
    steps_of: dict[Program, list[str]] = {}
    for step in all_steps().values():
        for program in step.programs:
            steps_of.setdefault(program, []).append(step.name)
    return [
        _program(program, names)
        for program, names in sorted(steps_of.items(), key=lambda pair: (pair[0].suite, pair[0].name))
    ]


def _program(program: Program, step_names: list[str]) -> Finding:
    purpose = f"{program.purpose}; {', '.join(step_names)}"
    try:
        if find_program(program) is None:
            return Finding(program.name, f"not found; optional ({purpose})", False)
        found = require_program(program)
    except UserInputError as error:
        return Finding(program.name, f"{error.message} ({purpose})", False)
    return Finding(program.name, f"{found.place}, {found.version or 'version unknown'} ({purpose})", True)


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("GPU", "none usable; all steps run on the CPU", False)
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
