"""A step's call of an outside program: find it, start it, watch it, and check its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryoloom.contract.program import Call
from cryoloom.contract.step import ProgramOutput
from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.program_errors import first_error, known_failure, last_lines
from cryoloom.engine.worker.program_finder import FoundProgram, require_program
from cryoloom.engine.worker.programs import run_program
from cryoloom.errors import DataUnfitError, UserInputError

__all__ = ["run_call"]


def run_call(
    call: Call,
    *,
    folder: Path,
    log: ItemLog,
    look: Callable[[], None],
    n_threads: int,
    device: str,
    timeout_s: float | None = None,
) -> tuple[ProgramOutput, FoundProgram]:
    """Run a call in a folder; returns what the program printed, and the program that was found.

    Files that it must write are removed first, so that an old result is never used. Raises as
    `StepContext.call` says.
    """
    program = call.program
    if program.needs_gpu and device == "cpu":
        raise UserInputError(
            f"{program.name} needs a GPU, and this task has none; run it on a machine with one "
            "(--device cuda), or use the native step"
        )
    found = require_program(program)
    for name in call.writes:
        (folder / name).unlink(missing_ok=True)
    for name, text in call.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for question, answer in call.answers:
        log.line(f"  {question}: {answer}")
    log.line(f"{program.name} {found.version or 'of unknown version'}: {found.place}")
    output = run_program(
        found.command(call.arguments, folder, call.launcher),
        folder=folder,
        log=log,
        look=look,
        n_threads=n_threads,
        timeout_s=timeout_s,
        environment={**found.settings.environment, **call.environment},
        stdin=call.stdin,
        name=program.name,
        errors=program.errors,
    )
    missing = [name for name in call.writes if not _is_made(folder / name, call.files.get(name))]
    if missing:
        _raise_for_missing(call, missing, output.text)
    return output, found


def _is_made(path: Path, before: str | None) -> bool:
    """Whether a program wrote a file. before : what was in it, for a file that the program completes."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    return before is None or path.read_bytes() != before.encode()


def _raise_for_missing(call: Call, missing: list[str], text: str) -> None:
    """Raise the error of a program that ended without an error code and without its files."""
    name = call.program.name
    if (known := known_failure(name, text)) is not None:
        raise known
    why = first_error(text, call.program.errors) or last_lines(text) or "it printed nothing"
    raise DataUnfitError(
        f"{name} ended without an error code and without writing {', '.join(missing)}: {why}"
    )
