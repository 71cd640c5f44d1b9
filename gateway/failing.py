"""An error as the whole answer to a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from common.errors import RoundhouseError, UnauthorizedError, error_body
from gateway.exchange import Send
from gateway.upstream import RawHeaders


async def send_error(
    send: Send,
    error: RoundhouseError,
    path: str,
    request_id: str,
    more_headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    body: dict[str, Any] = error_body(error)
    if path.startswith("/v1/messages"):
        body = {"type": "error", **body}  # what Anthropic's clients look for
    text = msgspec.json.encode(body)
    headers: RawHeaders = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
        (b"x-request-id", request_id.encode("latin-1")),
        *more_headers,
    ]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if isinstance(error, UnauthorizedError):
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": text, "more_body": False})


def own_fault() -> RoundhouseError:
    """What is told of an exception that nobody expected; the log has its traceback."""
    return RoundhouseError("the router failed over this request, and its log tells how")
