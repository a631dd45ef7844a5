"""Plain data become JSON beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from cryoloom.web.in_thread import InThread


class _Wanted(BaseModel):
    n: int


class _Noting(dict[str, Any]):
    """Data that note which thread reads them."""

    read_by: str = ""

    def items(self) -> Any:
        _Noting.read_by = threading.current_thread().name
        return super().items()


def test_answers_are_encoded_where_they_are_made_and_requests_are_still_checked() -> None:
    router = APIRouter(prefix="/x", route_class=InThread)

    @router.post("/{name}")
    def answer(name: str, wanted: _Wanted, more: int = 1) -> dict[str, Any]:
        return _Noting(name=name, n=wanted.n + more)

    app = FastAPI(openapi_url=None)
    app.include_router(router)

    async def ask(content: object) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://there") as client:
            return await client.post("/x/one?more=4", json=content)

    with ThreadPoolExecutor(1, "loop") as loops:  # Playwright has a loop of its own in this thread
        found = loops.submit(asyncio.run, ask({"n": 2})).result()
        refused = loops.submit(asyncio.run, ask({"n": "many"})).result()
    assert found.json() == {"name": "one", "n": 6}
    assert found.headers["cache-control"] == "no-store"
    assert not _Noting.read_by.startswith("loop")
    assert refused.status_code == 422
