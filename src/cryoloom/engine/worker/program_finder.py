"""Where an outside program is, which version it has, and the words that start it."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryoloom.contract.program import Program
from cryoloom.engine.worker.program_settings import (
    ProgramSettings,
    SuiteSettings,
    load_program_settings,
    settings_path,
)
from cryoloom.errors import UserInputError

__all__ = ["FoundProgram", "find_program", "require_program", "why_not"]

_ASK_SECONDS = 30.0
"""A container's first start on a shared disk takes several seconds."""


@dataclass(frozen=True, slots=True)
class FoundProgram:
    """A program on this machine."""

    program: Program
    executable: str
    """Path or, in a container or after modules, the name."""
    place: str
    """For users: the path, the container or the modules."""
    version: str
    """Version; "" if the program does not print it."""
    settings: SuiteSettings
    container_command: str

    def command(self, arguments: Sequence[str], folder: Path, launcher: Sequence[str] = ()) -> list[str]:
        """Words that start it in a folder. A shell is used only for modules and the preamble."""
        words = [*launcher, self.executable, *arguments]
        return _launched(words, self.settings, self.container_command, folder)


def require_program(program: Program) -> FoundProgram:
    """The program, checked. Raises UserInputError if it is missing or too old."""
    found = find_program(program)
    if found is None:
        names = " or ".join(program.executables)
        raise UserInputError(
            f"{program.name} is not found on this machine (looked for {names}): put its folder on the "
            f"PATH of the workers, or set its folder in {settings_path()} (suite {program.suite}); see "
            f"{program.homepage}"
        )
    if program.oldest and found.version and _numbers(found.version) < _numbers(program.oldest):
        raise UserInputError(
            f"{program.name} at {found.place} is version {found.version}, expected {program.oldest} or "
            f"later; install a newer one, or set its folder in {settings_path()}"
        )
    return found


def why_not(program: Program, *, has_gpu: bool) -> str:
    """Why a program cannot be run on this machine, "" if it can."""
    if program.needs_gpu and not has_gpu:
        return f"{program.name} needs a GPU"
    try:
        require_program(program)
    except UserInputError as error:
        return f"{program.name} is not found" if find_program(program) is None else error.message
    return ""


def find_program(program: Program) -> FoundProgram | None:
    """Look for a program; the answer is cached until the settings or PATH change."""
    settings = load_program_settings()
    return _find(program, settings.model_dump_json(), os.environ.get("PATH", ""))


@functools.lru_cache(maxsize=256)
def _find(program: Program, settings_json: str, path: str) -> FoundProgram | None:
    settings = ProgramSettings.model_validate_json(settings_json)
    suite = settings.of(program.suite)
    given = [suite.executables[name] for name in program.executables if name in suite.executables]
    for name in given or program.executables:
        located = _located(name, suite, settings, path)
        if located is not None:
            executable, place = located
            version = _version(program, executable, suite, settings.container_command)
            return FoundProgram(program, executable, place, version, suite, settings.container_command)
    return None


def _located(name: str, suite: SuiteSettings, settings: ProgramSettings, path: str) -> tuple[str, str] | None:
    """Words to start it, and the place to show to users; None if it is not found."""
    if suite.container is None and not (suite.modules or suite.preamble):
        folders = [str(folder) for folder in (*suite.folders, *settings.folders)]
        found = shutil.which(name, path=os.pathsep.join([*folders, path]))
        return None if found is None else (found, found)
    if suite.container is not None:
        if not suite.container.exists():
            raise UserInputError(f"there is no container {suite.container}; correct {settings_path()}")
        if shutil.which(settings.container_command) is None:
            raise UserInputError(
                f"{settings.container_command}, which starts {suite.container}, is not on this machine; "
                "install it, or put it on the PATH of the workers"
            )
    asked = _launched(
        ["sh", "-c", 'command -v "$1"', "sh", name], suite, settings.container_command, Path.cwd()
    )
    answer = _ask(asked, suite)
    lines = [line for line in answer.splitlines() if line.strip().endswith(Path(name).name)]
    if not lines:
        return None
    place = str(suite.container or " ".join(suite.modules) or lines[-1].strip())
    return name, place


def _launched(words: Sequence[str], suite: SuiteSettings, container: str, folder: Path) -> list[str]:
    command = list(words)
    if suite.container is not None:
        # The scratch folder need not be one that containers see by themselves.
        bound = ["--bind", str(folder), "--pwd", str(folder)]
        variables = [f"--env={name}={value}" for name, value in suite.environment.items()]
        command = [
            container,
            "exec",
            *bound,
            *variables,
            *suite.container_options,
            str(suite.container),
            *command,
        ]
    if suite.modules or suite.preamble:
        lines = [*(f"module load {module}" for module in suite.modules), suite.preamble, 'exec "$@"']
        # A login shell, which knows environment modules.
        command = ["bash", "-lc", "\n".join(line for line in lines if line), "bash", *command]
    return command


def _version(program: Program, executable: str, suite: SuiteSettings, container: str) -> str:
    if program.version_arguments is None:
        return ""
    command = _launched([executable, *program.version_arguments], suite, container, Path.cwd())
    found = re.search(program.version_pattern, _ask(command, suite))
    return found.group(1) if found else ""


def _ask(command: Sequence[str], suite: SuiteSettings) -> str:
    """Output of a command; "" if it cannot be started or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **suite.environment},
            timeout=_ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
