"""What the engine gives a step besides its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cryoloom.contract.program import Call

if TYPE_CHECKING:  # commands that only read declarations do not wait for NumPy
    import numpy as np
    from numpy.typing import NDArray

    from cryoloom.model import KeyedPixels, Movie, MovieFrames, PixelSink, Table

__all__ = ["JsonValue", "PartFunction", "ProgramOutput", "StepContext"]

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
PartFunction = Callable[[Any, Any], "Mapping[str, NDArray[Any]]"]
"""Work on one part: ``function(part, context)`` returns arrays by name."""


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """Output of an outside program: both streams in order, at most the last 200 kB."""

    text: str


class StepContext(Protocol):
    """What the engine gives a step besides its data. Tests use an in-memory implementation."""

    @property
    def item_name(self) -> str:
        """Name of the item the step works on; its result has the same name."""

    @property
    def device(self) -> str:
        """Torch device for heavy computation: "cpu" or "cuda:0"."""

    @property
    def n_threads(self) -> int:
        """Threads this step may use; torch and numba are already set to this number."""

    @property
    def memory_bytes(self) -> int:
        """Memory this step may use; a step divides its work to fit."""

    @property
    def upstream_figures(self) -> Mapping[str, float]:
        """Figures of the steps before this one, the nearest first; only for a step that `reads_figures`."""

    @property
    def upstream_not_measurable(self) -> Mapping[str, str]:
        """Figures of those steps that have no value, with the reason."""

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend only on the step and the name of the item."""

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
        """Begin an image stack or volume, kept under ``role`` (its file name) if the step succeeds.

        ``kind`` is written to the file's header. ``multiscale`` also writes an OME-Zarr pyramid beside the
        MRC
        file.
        """

    @property
    def grows(self) -> bool:
        """Whether the item is still growing: nothing is recorded of it."""

    @property
    def n_expected(self) -> int:
        """Number of tilts that a growing item will probably have; 0 where that is not known."""

    def keyed_pixels(
        self,
        role: str,
        shape: tuple[int, ...],
        pixel_size_angstrom: float,
        *,
        dtype: Literal["float32", "float16"],
        keys: Sequence[str | None],
        n_below: int = 0,
    ) -> KeyedPixels:
        """Begin a stack ``(tilt, y, x)``, or go on with it: sections may be there from when the item grew.

        keys : what decides each section (`partial_key`), None where that is not known yet. n_below : sections
        that are expected before the first of those there are: images are written once if this is right, and
        copied later if it is not.
        """

    def partial_key(self, *facts: object) -> str:
        """Key of facts, as those of `load_partial`: equal keys, equal content."""

    def new_file(self, name: str) -> Path:
        """Path for a further file, kept under ``name`` if the step succeeds, such as network weights."""

    def new_table(self, role: str, columns: Mapping[str, NDArray[Any]]) -> Table:
        """Keep columns of one length ``(n,)`` under ``role`` (the file's name) if the step succeeds.

        The table can be read at once. Column names carry units; values are numbers, booleans or text.
        """

    def map(
        self,
        function: PartFunction,
        parts: Sequence[Any],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[dict[str, NDArray[Any]]]:
        """Results of ``function(part, context)`` for every part, in order, computed by all workers.

        function : a function of a module, not a lambda; it returns arrays by name. parts : plain data, values
        of the model and arrays; lists arrive as tuples. The context of a part has no outputs and cannot map
        again; its ``rng`` follows from the item, the call and the part, so results do not depend on the
        number of workers. progress : gets the number done and the total; `progress` by default.

        Raises the error of a part; if several fail, that of the first part.
        """

    def imap(
        self,
        function: PartFunction,
        parts: Sequence[Any],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """As `map`, but results are yielded one by one in order, so that large ones can be summed."""

    def scratch(self) -> Path:
        """Scratch folder of this item; it is removed when the step ends."""

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> ProgramOutput:
        """Run an outside program in `scratch`, without a shell; its output goes to the item's log.

        The program is stopped when the task ends, for any reason. Raises UserInputError if the program does
        not exist, TransientError if it was killed, exceeded ``timeout_s`` or the disk is full, and
        DataUnfitError with its last lines of output if it fails.
        """

    def call(self, call: Call, *, timeout_s: float | None = None) -> ProgramOutput:
        """Run a declared program in `scratch`, found and started as this machine's settings say.

        The files it must write are there and not empty afterwards; its version is kept with the item. Raises
        as `run` does, UserInputError where the program is missing, too old, without a licence or without the
        GPU it needs, and DataUnfitError with its first error where a file is missing.
        """

    def open_movie(self, movie: Movie) -> MovieFrames:
        """Open a movie; raises DataUnfitError if it is missing, truncated or of another shape."""

    def load_partial(self, *facts: object) -> Mapping[str, NDArray[Any]] | None:
        """Arrays saved under the same facts while this item was still growing, or None.

        facts : everything that determines the arrays besides the step and its version: plain data, and values
        of the model, whose files are compared by size and time. Arrays are read when they are accessed.
        """

    def save_partial(self, arrays: Mapping[str, NDArray[Any]], *facts: object) -> None:
        """Save arrays under their facts if the item is still growing; otherwise do nothing."""

    def checkpoint(self, arrays: Mapping[str, NDArray[Any]], *facts: object) -> None:
        """Save the state of long work; `load_partial` finds it after a stop, until the item is done."""

    def progress(self, done: int, total: int) -> None:
        """Report the progress of the step."""

    def figure(self, name: str, value: float | None, *, reason: str = "") -> None:
        """Report a number that describes the quality of the result; the step declares it (`Figure`).

        None, NaN and infinity are stored as "not measurable", with ``reason`` as the explanation for the
        user.
        """

    def not_measurable(self, name: str, reason: str) -> None:
        """Report that a declared figure could not be measured, and why; this never fails the item."""

    def record(self, name: str, data: JsonValue) -> None:
        """Store curves or tables that the step declares (`Record`): plain data, at most a few hundred kB."""

    def warn(self, message: str) -> None:
        """Warn the user of something that does not stop the work; it is stored with the item."""
