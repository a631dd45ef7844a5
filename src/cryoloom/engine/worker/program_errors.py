"""The error of an outside program, from its output."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryoloom.errors import CryoloomError, TransientError, UserInputError

__all__ = ["first_error", "known_failure", "last_lines"]

_N_LAST_LINES = 5
_MOST_CHARACTERS = 600
"""Chosen: what fits a message."""

# Error lines of the field's programs. A program may mention "error" without one
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
# A message, the error class it stands for, and what to do.
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
    """The first error line; "" if there is none. A heading is returned with the line after it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for i, line in enumerate(lines):
        if any(re.search(pattern, line, re.IGNORECASE) for pattern in (*patterns, *_ERRORS)):
            is_heading = re.fullmatch(r"\W*[\w ]{0,20}\W*", line) is not None
            return " ".join(lines[i : i + 2] if is_heading else [line])[:_MOST_CHARACTERS]
    return ""


def known_failure(name: str, text: str) -> CryoloomError | None:
    """The error for a well-known message: no licence, no GPU, no memory; None if there is none.

    Warnings are skipped: cryoCARE warns of a missing GPU and continues without it.
    """
    for line in text.splitlines():
        if re.match(r"\W*(?:user)?warn(?:ing)?\b", line, re.IGNORECASE):
            continue
        for pattern, kind, advice in _KNOWN:
            if re.search(pattern, line, re.IGNORECASE):
                return kind(f"{name}: {advice} (it says: {line.strip()[:_MOST_CHARACTERS]})")
    return None


def last_lines(text: str) -> str:
    """The end of the output, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_N_LAST_LINES:])[-_MOST_CHARACTERS:]
