"""Routes that encode their answers as JSON in the worker thread, because the event loop serves all pages."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute

__all__ = ["InThread"]


class InThread(APIRoute):
    """A route of a plain function. FastAPI itself encodes plain data as JSON on the event loop."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = _encoding(endpoint)
        super().__init__(path, endpoint, **{**given, "response_model": None})


def _encoding(endpoint: Callable[..., Any]) -> Callable[..., Response]:
    @functools.wraps(endpoint)
    def answer(*given: Any, **named: Any) -> Response:
        made = endpoint(*given, **named)
        return made if isinstance(made, Response) else JSONResponse(made, headers=_NOT_KEPT)

    # Annotations are strings in the endpoint's module; they are evaluated here.
    answer.__signature__ = inspect.signature(endpoint, eval_str=True)  # type: ignore[attr-defined]
    return answer


_NOT_KEPT = {"cache-control": "no-store"}
