"""What the fakes of cloud APIs share: a key, faults on demand, a record of what came, TLS.

`POST /fake/fault` sets a fault ({"status": 429, "retry_after": 20, "times": 1}, or {"kind":
"drop" | "cut_stream" | "error_event"}), `POST /fake/reset` takes it back, `GET /fake/seen` lists
the requests. Run one as a program: `python -m tests.fakes.anthropic_api`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Json = dict[str, Any]
KEY = "sk-fake-key-of-the-provider"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """An error answer, in the API's own form."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class Cloud:
    """`error_body` gives the API's error object; `kinds` its error types by status."""

    def __init__(self, error_body: Callable[[str, str], Json], kinds: dict[int, str]) -> None:
        self._error_body, self._kinds = error_body, kinds
        self.fault: Json = {}
        self.seen: list[Json] = []
        self.app = web.Application(client_max_size=64 << 20, middlewares=[self._middleware()])
        self.app.router.add_post("/fake/fault", self._set)
        self.app.router.add_post("/fake/reset", self._reset)
        self.app.router.add_get("/fake/seen", self._tell)

    def takes(self, kind: str) -> bool:
        """Is the fault of this kind to happen now? Counts it."""
        if self.fault.get("kind", "status") != kind or not self.fault.get("times", 1):
            return False
        self.fault["times"] = self.fault.get("times", 1) - 1
        return True

    def error(self, status: int, kind: str, message: str) -> web.Response:
        return web.json_response(self._error_body(kind, message), status=status)

    def _middleware(self) -> Any:
        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/fake/"):
                return await handler(request)
            await self._note(request)
            if self.fault and self.takes("drop"):
                assert request.transport is not None
                request.transport.abort()
                await asyncio.sleep(60)
            if "status" in self.fault and self.takes("status"):
                return self._failed()
            try:
                return await handler(request)
            except RefusedError as error:
                return self.error(error.status, error.kind, error.message)
            except web.HTTPNotFound:
                return self.error(404, self._kinds[404], f"no route {request.path}")

        return around

    def _failed(self) -> web.Response:
        status = self.fault["status"]
        answer = self.error(status, self._kinds.get(status, self._kinds[500]), "as was asked for")
        if "retry_after" in self.fault:
            answer.headers["retry-after"] = str(self.fault["retry_after"])
        return answer

    async def _note(self, request: web.Request) -> None:
        text = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(text) if text else None
        self.seen.append({"path": request.path, "headers": headers, "body": body})

    async def _set(self, request: web.Request) -> web.Response:
        self.fault = await request.json()
        return web.json_response({})

    async def _reset(self, request: web.Request) -> web.Response:
        self.fault, self.seen = {}, []
        return web.json_response({})

    async def _tell(self, request: web.Request) -> web.Response:
        return web.json_response({"seen": self.seen})


def sse(data: Json, event: str | None = None) -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


async def stream(request: web.Request, pieces: list[bytes], *, cut: bool) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    answer.headers["set-cookie"] = "__cf_bm=tracks-you"
    await answer.prepare(request)
    for piece in pieces[: len(pieces) // 2] if cut else pieces:
        await answer.write(piece)
        await asyncio.sleep(0)
    if cut:
        assert request.transport is not None
        request.transport.abort()
    else:
        await answer.write_eof()
    return answer


def main(cloud: Cloud) -> None:
    """Serves until its standard input ends; prints `ready URL`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", help="a PEM file with key and certificate")
    options = parser.parse_args()
    asyncio.run(_serve(cloud, options.tls))


async def _serve(cloud: Cloud, pem: str | None) -> None:
    tls = None
    if pem:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pem)
    runner = web.AppRunner(cloud.app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls, shutdown_timeout=0.1)
    await site.start()
    port = runner.addresses[0][1]
    print(f"ready {'https' if tls else 'http'}://127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
