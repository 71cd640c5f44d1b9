"""The way to an endpoint that somebody else runs, and back: TLS, its key, its API's words.

Nothing of this lies on the way to engines of our own. Headers pass by name in both directions: a
provider is told nothing of our clients that it need not know, and clients nothing of our account.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from common.errors import BadRequestError, EngineDisconnectError, EngineError, error_body
from engines.anthropic.content import Untranslatable
from engines.endpoint import Endpoint
from engines.meter import Lens
from engines.prices import Tokens
from gateway.events import failure_in
from gateway.exchange import Exchange, is_event_stream
from gateway.translation import Asked, ask
from gateway.upstream import Connection, Origin, RawHeaders
from router.replicas import Replica

_FORWARDED = frozenset(
    b"content-type accept user-agent anthropic-version anthropic-beta openai-beta "
    b"idempotency-key".split()
)
_RETURNED = frozenset(
    b"content-type content-encoding retry-after retry-after-ms request-id cache-control".split()
)
_RETURNED_STARTS = (b"x-ratelimit-", b"anthropic-ratelimit-")


@dataclass(eq=False)
class LensStream:
    """A connection's stream, seen through a lens."""

    connection: Connection
    lens: Lens
    exchange: Exchange
    endpoint: Endpoint
    _ended: bool = False

    async def read(self) -> bytes:
        """Like Connection.read. Raises EngineError when it breaks or tells of a failure."""
        while data := await self.connection.read():
            if out := self._fed(data):
                return out
        return self._end()

    async def first(self) -> bytes:
        """All up to the point from which the answer is the client's."""
        held = b""
        while not self.lens.begun:
            data = await self.connection.read()
            if not data:
                raise EngineDisconnectError("its answer ended before it had begun")
            held += self._fed(data)
        failure = failure_in(held)
        if failure is not None:
            raise EngineError(f"its answer begins with a failure: {failure}")
        return held

    def _fed(self, data: bytes) -> bytes:
        try:
            return self.lens.feed(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(f"its stream makes no sense: {type(error).__name__}") from None

    def _end(self) -> bytes:
        if self._ended:
            return b""
        if not self.lens.complete:
            raise EngineDisconnectError("its stream ended before its end")
        self._ended = True
        count(self.exchange, self.endpoint, self.lens.tokens)
        return self.lens.end()


@dataclass(eq=False)
class Reply:
    """Status, headers and body as the client gets them; of a stream, what came first."""

    status: int
    headers: RawHeaders
    body: bytes
    stream: LensStream | Connection | None = None


async def converse(
    connection: Connection, exchange: Exchange, origin: Origin, endpoint: Endpoint, asked: Asked
) -> Reply:
    """Asks, and hears the answer up to where it has begun. Raises EngineError."""
    connection.send(request_head(exchange, origin, endpoint, asked), asked.body)
    await connection.head()
    headers = [pair for pair in connection.headers if _is_returned(pair[0])]
    if connection.status == 200 and is_event_stream(headers):
        return await _begin(connection, exchange, endpoint, asked, headers)
    body = await connection.read_all()
    try:
        status, body, tokens = asked.whole(connection.status, body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"its answer makes no sense: {type(error).__name__}") from None
    count(exchange, endpoint, tokens)
    return Reply(status, headers, body)


async def _begin(
    connection: Connection,
    exchange: Exchange,
    endpoint: Endpoint,
    asked: Asked,
    headers: RawHeaders,
) -> Reply:
    if asked.lens is not None:
        stream = LensStream(connection, asked.lens, exchange, endpoint)
        return Reply(200, headers, await stream.first(), stream)
    first = await connection.read()
    if not first:
        raise EngineDisconnectError("its answer ended without a byte")
    failure = failure_in(first)
    if failure is not None:
        raise EngineError(f"its answer begins with a failure: {failure}")
    return Reply(200, headers, first, connection)


def asked_of(exchange: Exchange, replica: Replica) -> Asked | Reply:
    """What to send there, or the refusal of what cannot be said there."""
    assert replica.endpoint is not None
    try:
        return ask(
            replica.endpoint,
            exchange.path,
            exchange.body,
            streamed=exchange.streamed,
            now_s=int(time.time()),
        )
    except Untranslatable as error:
        refused = BadRequestError(f"model {replica.model!r}: {error}", param=error.param)
        headers = [(b"content-type", b"application/json")]
        return Reply(400, headers, msgspec.json.encode(error_body(refused)))


def request_head(exchange: Exchange, origin: Origin, endpoint: Endpoint, asked: Asked) -> bytes:
    """Request line and headers, the key among them; a client's own key stays here."""
    is_theirs = asked.path == exchange.path  # the client speaks the provider's language itself
    path = exchange.raw_path.decode("latin-1") if is_theirs else asked.path
    target = origin.prefix.encode() + endpoint.path(path).encode("latin-1")
    if exchange.query:
        target += b"?" + exchange.query
    version = dict(exchange.headers).get(b"anthropic-version") if is_theirs else None
    own = endpoint.own_headers(version)
    ours = {name for name, _ in own}
    sent = [p for p in exchange.headers if p[0] in _FORWARDED and p[0] not in ours] + own
    lines = [b"%s %s HTTP/1.1" % (exchange.method.encode(), target), b"host: " + _host(origin)]
    lines += [b"%s: %s" % pair for pair in sent]
    lines.append(b"accept-encoding: identity")  # what comes is read
    lines.append(b"x-request-id: " + exchange.request_id.encode("latin-1"))
    lines.append(b"content-length: %d\r\n\r\n" % len(asked.body))
    return b"\r\n".join(lines)


def _host(origin: Origin) -> bytes:
    """Without the port where it goes without saying, as providers' front ends expect it."""
    usual = b":443" if origin.tls else b":80"
    return origin.host_header.removesuffix(usual)


def count(exchange: Exchange, endpoint: Endpoint, tokens: Tokens | None) -> None:
    """What the answer cost, where both its tokens and their price are known."""
    if tokens is None or endpoint.price is None:
        return
    cost_usd = endpoint.price(tokens)
    if cost_usd is not None:
        exchange.cost_usd = (exchange.cost_usd or 0.0) + cost_usd


def _is_returned(name: bytes) -> bool:
    return name in _RETURNED or name.startswith(_RETURNED_STARTS)
