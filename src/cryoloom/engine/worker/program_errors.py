"""What went wrong, from what an outside program printed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryoloom.errors import CryoloomError, TransientError, UserInputError

__all__ = ["first_error", "known_failure", "last_lines"]

_N_LAST_LINES = 5
_MOST_CHARACTERS = 600

# Lines by which programs of the field say that something failed, as a program may mention "error" in passing
# ("residual error mean"): the word begins the line, or a colon follows it.
_ERRORS = (
    r"^\W*(?:fatal\s+)?error\s*(?:[:!-]|$|in\b|code\b|\d)",
    r"\berror\s*[:!]",
    r"^\W*(?:fatal|abort(?:ed|ing)?|exception)\b",
    r"^\s*(?:[\w.]+)?(?:Error|Exception): ",
    r"\bsegmentation fault\b",
    r"\bwhat\(\):",
    r"\b(?:cannot|can't|could not|unable to|failed to) (?:open|read|find|load|allocate|create|write)\b",
    r"\bno such file\b",
    r"\bcommand not found\b",
)
# A message and the class it means, with what to do.
_KNOWN: tuple[tuple[str, type[CryoloomError], str], ...] = (
    (
        r"licen[cs]e\W.{0,60}(?:not found|expired|invalid|missing|denied|cannot|could not)|"
        r"(?:no|invalid|expired|missing) (?:valid )?licen[cs]e",
        UserInputError,
        "it has no licence here; install one",
    ),
    (
        r"no cuda[- ]capable device|cuda driver version is insufficient|no (?:cuda )?gpus? "
        r"(?:is |are |were )?(?:found|available|detected)|cudaErrorNoDevice",
        UserInputError,
        "it finds no GPU; run it on a machine with one, or use the native step",
    ),
    (
        r"(?:cuda|gpu).{0,60}out of memory|cudaErrorMemoryAllocation",
        TransientError,
        "the GPU's memory is full; let nothing else use it, or choose a larger binning, then resume",
    ),
    (
        r"std::bad_alloc|cannot allocate memory|out of memory|oom-kill",
        TransientError,
        "it got no more memory; give workers more, then resume",
    ),
)


def first_error(text: str, patterns: Sequence[str] = ()) -> str:
    """The first line that says what failed; "" where none does. A bare heading takes the next line along."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for i, line in enumerate(lines):
        if any(re.search(pattern, line, re.IGNORECASE) for pattern in (*patterns, *_ERRORS)):
            is_heading = re.fullmatch(r"\W*[\w ]{0,20}\W*", line) is not None
            return " ".join(lines[i : i + 2] if is_heading else [line])[:_MOST_CHARACTERS]
    return ""


def known_failure(name: str, text: str) -> CryoloomError | None:
    """The error that a well-known message means: no licence, no GPU, no memory; None without one.

    A line that says it is a warning is none: cryoCARE warns of a missing GPU and goes on without it.
    """
    for line in text.splitlines():
        if re.match(r"\W*(?:user)?warn(?:ing)?\b", line, re.IGNORECASE):
            continue
        for pattern, kind, advice in _KNOWN:
            if re.search(pattern, line, re.IGNORECASE):
                return kind(f"{name}: {advice} (it says: {line.strip()[:_MOST_CHARACTERS]})")
    return None


def last_lines(text: str) -> str:
    """The end of what was printed, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_N_LAST_LINES:])[-_MOST_CHARACTERS:]
