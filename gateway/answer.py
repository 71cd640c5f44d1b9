"""One replica's answer up to the point where it is known to be one: its first bytes, or all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from common.errors import EngineConnectError, EngineDeadError, EngineDisconnectError
from gateway.events import failure_in
from gateway.exchange import Exchange, is_event_stream, request_head, returned
from gateway.remote import LensStream, Reply, asked_of, converse
from gateway.upstream import Connection, Origin, Pool, RawHeaders
from router.fallback import with_model
from router.replicas import Replica

_origin = lru_cache(1024)(Origin.of)


@dataclass(slots=True, eq=False)
class Answer:
    """`body` is the whole answer or, of a stream, what came first. Streams are to be closed."""

    replica: Replica
    status: int
    headers: RawHeaders
    body: bytes
    stream: Connection | LensStream | None
    origin: Origin

    def close(self, pool: Pool) -> None:
        if self.stream is not None:
            seen = self.stream
            pool.give_back(self.origin, seen.connection if isinstance(seen, LensStream) else seen)


async def open_answer(pool: Pool, exchange: Exchange, replica: Replica) -> Answer:
    """Raises EngineError when nothing came that could be passed on."""
    if replica.url is None:
        raise EngineConnectError("it has just gone")
    origin = _origin(replica.url)
    if replica.endpoint is not None:
        return await _open_remote(pool, exchange, replica, origin)
    connection = await pool.take(origin)
    stream = None
    try:
        asked = _body_for(exchange, replica)
        head = request_head(
            exchange, origin, replica.token, len(asked), keep_alive=replica.keeps_alive
        )
        connection.send(head, asked)
        await connection.head()
        headers = returned(connection.headers)
        if connection.status == 200 and is_event_stream(headers):
            body = await _first_events(connection, replica)
            stream = connection
        else:
            body = await connection.read_all()
    finally:
        if stream is None:
            pool.give_back(origin, connection)
    return Answer(replica, connection.status, headers, body, stream, origin)


async def _open_remote(pool: Pool, exchange: Exchange, replica: Replica, origin: Origin) -> Answer:
    assert replica.endpoint is not None
    asked = asked_of(exchange, replica)
    if isinstance(asked, Reply):  # it cannot be said there
        return Answer(replica, asked.status, asked.headers, asked.body, None, origin)
    connection = await pool.take(origin)
    reply = None
    try:
        reply = await converse(connection, exchange, origin, replica.endpoint, asked)
    finally:
        if reply is None or reply.stream is None:
            pool.give_back(origin, connection)
    return Answer(replica, reply.status, reply.headers, reply.body, reply.stream, origin)


def _body_for(exchange: Exchange, replica: Replica) -> bytes:
    """As it came, but for the name of the model where the engine has its own."""
    if replica.served_as is None:
        return exchange.body
    return with_model(exchange.body, replica.served_as) or exchange.body


async def _first_events(connection: Connection, replica: Replica) -> bytes:
    """The first event decides whether the answer has begun."""
    chunk = await connection.read()
    if not chunk:
        raise EngineDisconnectError("its answer ended without a byte")
    failure = failure_in(chunk)
    if failure is not None:
        raise EngineDeadError(f"replica {replica.id} failed: {failure}")
    return chunk
