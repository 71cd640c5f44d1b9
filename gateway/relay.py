"""An answer's way to the client: its bytes untouched, or the error event that ends a broken one."""

from __future__ import annotations

import time
from math import inf

from common.errors import RoundhouseError
from gateway.answer import Answer
from gateway.events import EVENT_ENDS, error_event, whole_events
from gateway.exchange import Exchange


async def pass_on(exchange: Exchange, answer: Answer) -> None:
    """All of it. Raises EngineError when a stream breaks."""
    if answer.stream is None:
        await send_whole(exchange, answer)
    else:
        await _send_stream(exchange, answer)


async def send_whole(exchange: Exchange, answer: Answer) -> None:
    exchange.deadline_at = inf  # nothing of it can be late any more
    answer.headers.append((b"content-length", str(len(answer.body)).encode()))
    await begin(exchange, answer)
    await exchange.send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def break_off(exchange: Exchange, failure: RoundhouseError) -> None:
    """The stream cannot be made whole any more: say so, in the stream's own form."""
    body = error_event(failure, exchange.path)
    await exchange.send({"type": "http.response.body", "body": body, "more_body": False})


async def _send_stream(exchange: Exchange, answer: Answer) -> None:
    assert answer.stream is not None
    send, read, clock = exchange.send, answer.stream.read, time.perf_counter
    chunk, held = answer.body, b""
    await begin(exchange, answer)
    while chunk:
        if held or not chunk.endswith(EVENT_ENDS):
            chunk, held = whole_events(held + chunk)
        exchange.heard_at = 0.0  # a client that does not read is no silent engine
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        exchange.heard_at = clock()
        chunk = await read()
    await send({"type": "http.response.body", "body": held, "more_body": False})


async def begin(exchange: Exchange, answer: Answer) -> None:
    """Status and headers; from here on the answer is the client's."""
    exchange.begun, exchange.status, exchange.heard_at = True, answer.status, 0.0
    exchange.first_byte_at = time.perf_counter()
    overhead_ms = (exchange.departed_at - exchange.arrived_at) * 1000
    headers = answer.headers
    headers += (
        (b"x-request-id", exchange.request_id.encode("latin-1")),
        (b"x-roundhouse-model", answer.replica.model.encode()),
        (b"x-roundhouse-route", exchange.reason.encode()),
        (b"x-roundhouse-replica", answer.replica.id.encode()),
        (b"x-roundhouse-attempts", b"%d" % exchange.attempts),
        (b"x-roundhouse-overhead-ms", b"%.2f" % overhead_ms),
    )
    if exchange.task_name:
        headers.append((b"x-roundhouse-task", exchange.task_name.encode()))
    start = {"type": "http.response.start", "status": answer.status, "headers": headers}
    await exchange.send(start)
