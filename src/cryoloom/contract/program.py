"""Outside programs: the declaration of a program, and a call of it as plain data (decision 21).

Every parameter of a program step says where its value goes. ``option("-Tol", 0.2)`` is an option of the
program; ``setting(...)`` is used by cryoloom only. Command lines, the reference page and the test that no
parameter is lost are made from this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

__all__ = [
    "Call",
    "OptionKind",
    "Program",
    "Workplace",
    "arguments_of",
    "option",
    "option_of",
    "setting",
    "text_of",
]

OptionKind = Literal["words", "comma", "flag", "computed"]
"""How a value follows its option: as words; as one word with commas; as the option alone if it is true; or
as the step computes it, for a value in another unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An outside program: how it is found, its purpose, and its citation."""

    name: str
    """Its usual name: "CTFFIND"."""
    suite: str
    """The package it is part of: settings of a machine are given for a suite ("IMOD")."""
    executables: tuple[str, ...]
    """Possible names; the first that is found is used."""
    purpose: str
    versions: tuple[str, ...]
    """Versions that these options and files belong to."""
    citation: str
    homepage: str
    oldest: str = ""
    """Versions before this one are refused."""
    version_arguments: tuple[str, ...] | None = ("--version",)
    """Arguments that make it print its version; None if it prints it only during a run."""
    version_pattern: str = r"(?i)version\D{0,12}(\d+(?:\.\d+)+)"
    """Its first group is the version."""
    needs_gpu: bool = False
    errors: tuple[str, ...] = ()
    """Patterns of its error lines, in addition to the usual ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a program in the item's scratch folder."""

    program: Program
    arguments: tuple[str, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()
    """Questions that the program asks and their answers, which it reads from standard input."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text files to write before, by name."""
    writes: tuple[str, ...] = ()
    """Files that it must have written."""
    launcher: tuple[str, ...] = ()
    """Words before the program: ``mpirun -n 3`` of one that works in several processes."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def stdin(self) -> str:
        """The answers, one a line."""
        return "".join(f"{answer}\n" for _, answer in self.answers)

    def words_of(self, name: str) -> tuple[str, ...]:
        """Words after an option, a question, or the first word of a line in a file; () if there are none.

        If an option names one of the call's files, the file's content follows.
        """
        found: list[str] = []
        words = (*self.launcher, *self.arguments)
        for i, word in enumerate(words):
            if word == name:
                found.append(word)
                for following in words[i + 1 :]:
                    if _is_option(following):
                        break
                    found += [following, *([self.files[following]] if following in self.files else [])]
        found += [answer for question, answer in self.answers if question == name]
        lines = [line for text in self.files.values() for line in text.splitlines()]
        found += [line for line in lines if (line.split(maxsplit=1) or [""])[0].strip('":') == name]
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Resources of the machine that a call may use."""

    n_threads: int = 1
    gpu: int | None = None
    """Number of the GPU that the engine assigned; None without one."""
    memory_bytes: int = 4 << 30


def option(
    name: str,
    default: Any,
    *,
    description: str,
    kind: OptionKind = "words",
    **constraints: Any,
) -> Any:
    """Parameter that becomes an option of the program: a pydantic field that knows its name there."""
    return Field(
        default,
        description=description,
        json_schema_extra={"program_option": name, "option_kind": kind},
        **constraints,
    )


def setting(default: Any, *, description: str, **constraints: Any) -> Any:
    """Parameter that is not passed to the program: it controls what cryoloom does before or after."""
    return Field(default, description=description, json_schema_extra={"program_option": ""}, **constraints)


def option_of(declared: FieldInfo) -> tuple[str | None, OptionKind]:
    """The program's option of a parameter ("" for a `setting`, None where nothing is declared)."""
    extra = declared.json_schema_extra
    if not isinstance(extra, Mapping) or "program_option" not in extra:
        return None, "words"
    return str(extra["program_option"]), extra.get("option_kind", "words")  # type: ignore[return-value]


def arguments_of(params: BaseModel, *, only: Sequence[str] = (), but: Sequence[str] = ()) -> tuple[str, ...]:
    """Options and values of all parameters that are not computed, in the order they are declared.

    A value of None leaves the option out. only, but : names of parameters to take, or to leave out.
    """
    words: list[str] = []
    for name, declared in type(params).model_fields.items():
        program_option, kind = option_of(declared)
        if not program_option or kind == "computed" or name in but or (only and name not in only):
            continue
        value = getattr(params, name)
        if value is None or (kind == "flag" and not value):
            continue
        words.append(program_option)
        if kind == "words":
            words += text_of(value)
        elif kind == "comma":
            words.append(",".join(text_of(value)))
    return tuple(words)


def text_of(value: Any) -> tuple[str, ...]:
    """A value as the words a program reads: whole numbers without a point, true as 1."""
    if isinstance(value, bool):
        return ("1" if value else "0",)
    if isinstance(value, float):
        return (f"{value:.10g}",)
    if isinstance(value, tuple | list):
        return tuple(word for part in value for word in text_of(part))
    return (str(value),)


def _is_option(word: str) -> bool:
    """Whether a word is an option: it begins with a dash and is not a number."""
    if not word.startswith("-") or word == "-":
        return False
    try:
        float(word.split(",")[0])
    except ValueError:
        return True
    return False
