"""The steps and their forms, asked of a process of its own that is started when first needed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from cryoloom.errors import TransientError, UserInputError

__all__ = ["StepCatalogue"]


class StepCatalogue:
    """Asks `step_child`, one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._catalogue: dict[str, Any] | None = None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._close_process(self._process)
                self._process = None

    def catalogue(self) -> dict[str, Any]:
        """All steps with the schema of their parameters, and the shipped workflows."""
        if self._catalogue is None:
            self._catalogue = self.ask({"do": "catalogue"})
        return self._catalogue

    def step(self, name: str) -> dict[str, Any]:
        """One step of the catalogue. Raises UserInputError if there is none of that name."""
        for one in self.catalogue()["steps"]:
            if one["name"] == name:
                found: dict[str, Any] = one
                return found
        raise UserInputError(f"there is no step {name!r}")

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question. Raises UserInputError with the sentence of a refusal."""
        with self._lock:
            for attempt in (1, 2):  # the process may have been killed since the last question
                process = self._running()
                line = _exchange(process, json.dumps(question))
                if line:
                    break
                self._close_process(process)
                self._process = None
                if attempt == 2:
                    raise TransientError("the process that knows the steps ended; try again")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserInputError(answer["error"])
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is not None:
            self._close_process(self._process)  # it was killed since the last question
            self._process = None
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cryoloom.web.step_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process

    @staticmethod
    def _close_process(process: subprocess.Popen[str]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        process.terminate()
        process.wait(10)


def _exchange(process: subprocess.Popen[str], question: str) -> str:
    """Send a line and read one; "" if the process has ended."""
    if process.stdin is None or process.stdout is None:
        return ""
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except BrokenPipeError:
        return ""
