"""The steps and their forms, from a separate process that is started on first use.

The process imports every step and torch, which takes five seconds on an idle machine and more on a busy one.
Its catalogue depends only on the source, so it is stored in the user's cache under the hash of the source.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic

from cryoloom.errors import TransientError, UserInputError

__all__ = ["StepCatalogue"]


_USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cryoloom"
_KEPT = "steps-*.json"
#: Chosen: kept versions, for several installations such as a development tree and a release.
_N_KEPT = 3


class StepCatalogue:
    """Client of `step_child`, with one request at a time."""

    def __init__(self, cache_folder: Path = _USER_CACHE) -> None:
        self._cache_folder = cache_folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._catalogue: dict[str, Any] | None = None
        self._is_closed = False
        self._warming: threading.Thread | None = None

    def close(self) -> None:
        """End the process."""
        self._is_closed = True
        if (process := self._process) is not None:
            process.terminate()  # ends any wait for an answer
        with self._lock:
            if self._process is not None:
                self._close_process(self._process)
                self._process = None

    def catalogue(self) -> dict[str, Any]:
        """All steps with the schema of their parameters, and the shipped workflows."""
        if self._catalogue is None:
            kept = self._cache_folder / f"steps-{source_hash()}.json"
            self._catalogue = _read(kept)
            if self._catalogue is None:
                self._catalogue = self.ask({"do": "catalogue"})
                _write(kept, self._catalogue)
        return self._catalogue

    def prepare(self) -> None:
        """Read the catalogue in the background, so that the first form is not delayed."""
        threading.Thread(target=self._prepare, name="read steps", daemon=True).start()

    def start(self) -> None:
        """Start the process in the background, because an open form will soon send a request."""
        if self._process is None and (self._warming is None or not self._warming.is_alive()):
            self._warming = threading.Thread(target=self._start, name="start steps", daemon=True)
            self._warming.start()

    def _prepare(self) -> None:
        with contextlib.suppress(TransientError):
            self.catalogue()

    def _start(self) -> None:
        with contextlib.suppress(TransientError):
            self.ask({"do": "start"})

    def step(self, name: str) -> dict[str, Any]:
        """One step of the catalogue. Raises UserInputError if there is none of this name."""
        for one in self.catalogue()["steps"]:
            if one["name"] == name:
                found: dict[str, Any] = one
                return found
        raise UserInputError(f"there is no step {name!r}")

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer to a request. Raises UserInputError with the message of a refusal."""
        with self._lock:
            for attempt in (1, 2):  # the process can have been killed since the last request
                if self._is_closed:
                    raise TransientError("the server is being stopped")
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
            self._close_process(self._process)  # it was killed since the last request
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


def source_hash() -> str:
    """Hash of everything that determines the catalogue: this package's source, workflows, and pydantic."""
    root = Path(str(resources.files("cryoloom")))
    made = hashlib.sha256(f"{sys.version}\0{pydantic.VERSION}".encode())
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.yaml")]):
        made.update(f"\0{path.relative_to(root)}\0".encode())
        made.update(path.read_bytes())
    return made.hexdigest()[:20]


def _read(path: Path) -> dict[str, Any] | None:
    """Stored catalogue; None if there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"steps", "workflows"} <= found.keys() else None


def _write(path: Path, catalogue: Mapping[str, Any]) -> None:
    """Store a catalogue, and delete those of older sources. If this fails, the steps are read again."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(catalogue), encoding="utf-8")
        part.replace(path)
        kept = sorted(path.parent.glob(_KEPT), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        for old in kept[_N_KEPT:]:
            old.unlink()


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
