"""What the engine hands a step besides its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.program import Call
from cryoloom.model import Movie, MovieFrames, PixelSink, Table

__all__ = ["JsonValue", "PartFunction", "ProgramOutput", "StepContext"]

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
PartFunction = Callable[[Any, Any], Mapping[str, NDArray[Any]]]
"""What is done with one part of a step's work: ``function(part, context)`` gives arrays by name."""


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """What an outside program printed: both streams as they came, the last 200 kB at most."""

    text: str


class StepContext(Protocol):
    """What the engine hands a step besides its data. In tests an in-memory twin takes its place."""

    @property
    def item_name(self) -> str:
        """Name of the item the step works on; what it gives has the same."""

    @property
    def device(self) -> str:
        """Torch device for the heavy work: "cpu" or "cuda:0"."""

    @property
    def n_threads(self) -> int:
        """Threads this step may use; torch and numba are already set to it."""

    @property
    def memory_bytes(self) -> int:
        """Memory this step may use; long work is cut to fit."""

    @property
    def upstream_figures(self) -> Mapping[str, float]:
        """Figures of the steps this item went through, the nearest first; of a step that `reads_figures`."""

    @property
    def upstream_not_measurable(self) -> Mapping[str, str]:
        """Figures of those steps that have no value, with the reason."""

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on the item and the parameters alone."""

    def new_pixels(
        self,
        role: str,
        shape: tuple[int, ...],
        pixel_size_angstrom: float,
        *,
        kind: Literal["stack", "volume"] = "stack",
        dtype: Literal["float32", "float16"] = "float32",
        multiscale: bool = False,
    ) -> PixelSink:
        """Begin an image stack or volume, kept under ``role`` (its file name) when the step succeeds.

        ``kind`` is what the file's header calls it. With ``multiscale`` an OME-Zarr pyramid is written beside
        the MRC file.
        """

    def new_file(self, name: str) -> Path:
        """Where to write a further file, called ``name`` when the step succeeds: weights of a network."""

    def new_table(self, role: str, columns: Mapping[str, NDArray[Any]]) -> Table:
        """Keep columns of one length ``(n,)`` under ``role`` (the file's name) when the step succeeds.

        The table can be read at once. Names carry units; numbers, booleans or text.
        """

    def map(
        self,
        function: PartFunction,
        parts: Sequence[Any],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[dict[str, NDArray[Any]]]:
        """Results of ``function(part, context)`` for every part, in their order, spread over all workers.

        function : of a module, not a lambda; it gives arrays by name. parts : plain data, values of the
        model and arrays; lists arrive as tuples. The context that a part gets has no outputs and cannot map
        again; its ``rng`` follows from the item, the call and the part, so results do not depend on the
        number of workers. progress : gets how many are done, and of how many; `progress` by default.

        Raises what a part raises; of several, what the first of them raised.
        """

    def imap(
        self,
        function: PartFunction,
        parts: Sequence[Any],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """As `map`, one result after the other: to add large ones up, in the order of the parts."""

    def scratch(self) -> Path:
        """A folder for this item's own files; it is removed with all in it when the step has ended."""

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> ProgramOutput:
        """Run an outside program in `scratch`, without a shell; what it prints goes to the item's log.

        The program ends with the task, whatever ends that. Raises UserInputError where there is no such
        program, TransientError where it was killed, took longer than ``timeout_s`` or the disk is full, and
        DataUnfitError with the last lines it printed where it fails.
        """

    def call(self, call: Call, *, timeout_s: float | None = None) -> ProgramOutput:
        """Run a declared program in `scratch`, found and started as this machine's settings say.

        The files it must write are there and not empty afterwards; its version is kept with the item. Raises
        as `run` does, UserInputError where the program is missing, too old, without a licence or without the
        GPU it needs, and DataUnfitError with its first error where a file is missing.
        """

    def open_movie(self, movie: Movie) -> MovieFrames:
        """Open a movie; raises DataUnfitError if it is missing, truncated or of another shape than told."""

    def load_partial(self, *facts: object) -> Mapping[str, NDArray[Any]] | None:
        """Arrays kept under the same facts while this item was growing, or None.

        facts : all that decides the arrays besides the step and its version: plain data, and values of the
        model, whose files count with their length and time. Arrays are read when they are asked for.
        """

    def save_partial(self, arrays: Mapping[str, NDArray[Any]], *facts: object) -> None:
        """Keep arrays under their facts if the item still grows; else do nothing."""

    def checkpoint(self, arrays: Mapping[str, NDArray[Any]], *facts: object) -> None:
        """Save the state of long work; `load_partial` finds it after a stop, until the item is done."""

    def progress(self, done: int, total: int) -> None:
        """Tell how far the step is."""

    def figure(self, name: str, value: float | None, *, reason: str = "") -> None:
        """Report a number that says how good the result is; the step declares it (`Figure`).

        None, NaN and infinity are kept as "not measurable", with ``reason`` as the explanation for the user.
        """

    def not_measurable(self, name: str, reason: str) -> None:
        """Report that a declared figure could not be measured, and why; it never fails the item."""

    def record(self, name: str, data: JsonValue) -> None:
        """Keep curves or tables that the step declares (`Record`): plain data, a few hundred kB at most."""

    def warn(self, message: str) -> None:
        """Tell the user something that does not stop the work; it is stored with the item."""
