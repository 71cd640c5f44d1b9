"""A closed-loop load client over bare sockets: it only counts and stamps.

On a small machine the client shares its cores with what it measures, so nothing is decoded
while a stream runs. The definitions are vLLM's: TTFT is the first event of a stream, ITL every
gap between events (0 for events that arrive together), TPOT (E2EL - TTFT) / (tokens - 1).
"""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Final, cast
from urllib.parse import urlsplit

CHUNK_LINE: Final = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")
COUNTED: Final = re.compile(rb'"(?:completion|output)_tokens":\s*(\d+)')
LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
ERROR_EVENT: Final = re.compile(rb'(?:^|\n)(?:event: error|data: \{"error")')
KEPT_BYTES: Final = 2048  # of the end of an answer: room for usage and an error event
SWEEP_S: Final = 0.25
ZEROS: Final = [0.0] * 65536


@dataclass(frozen=True)
class Quantiles:
    """Of one measure over the requests (or gaps) that succeeded; all zero when there are none."""

    mean: float
    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quantiles":
        if not values:
            return cls(0.0, 0.0, 0.0, 0.0)
        ranked = sorted(values)
        points = (percentile(ranked, q) for q in (0.5, 0.9, 0.99))
        return cls(sum(ranked) / len(ranked), *points)


def percentile(ranked: Sequence[float], q: float) -> float:
    """Linear interpolation between the two nearest ranks, as np.percentile does."""
    place = q * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)


@dataclass(frozen=True)
class LoadResult:
    """Rates count successes only; every request that failed is in `failures` by its reason."""

    concurrency: int
    requests: int
    succeeded: int
    failures: dict[str, int]
    duration_s: float
    output_tokens: int
    chunks: int
    requests_per_s: float
    output_tokens_per_s: float
    chunks_per_s: float
    ttft_s: Quantiles
    itl_s: Quantiles
    tpot_s: Quantiles
    e2el_s: Quantiles

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    requests: tuple[bytes, ...]
    lines_per_event: int
    bare_events: int  # [DONE], and a chat's first event, which tells the role only
    expected_tokens: int | None


@dataclass
class Tally:
    """What the connections of one run share: the work left, and what was seen."""

    left: int
    until_s: float = inf
    sent: int = 0
    succeeded: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    output_tokens: int = 0
    chunks: int = 0
    ttft_s: list[float] = field(default_factory=list)
    itl_s: list[float] = field(default_factory=list)
    tpot_s: list[float] = field(default_factory=list)
    e2el_s: list[float] = field(default_factory=list)

    def summary(self, concurrency: int, duration_s: float) -> LoadResult:
        return LoadResult(
            concurrency=concurrency,
            requests=self.sent,
            succeeded=self.succeeded,
            failures=dict(self.failures),
            duration_s=duration_s,
            output_tokens=self.output_tokens,
            chunks=self.chunks,
            requests_per_s=self.succeeded / duration_s,
            output_tokens_per_s=self.output_tokens / duration_s,
            chunks_per_s=self.chunks / duration_s,
            ttft_s=Quantiles.of(self.ttft_s),
            itl_s=Quantiles.of(self.itl_s),
            tpot_s=Quantiles.of(self.tpot_s),
            e2el_s=Quantiles.of(self.e2el_s),
        )


async def run(
    url: str,
    *,
    bodies: Sequence[bytes],
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    concurrency: int = 1,
    requests: int | None = None,
    for_s: float = inf,
    ramp_s: float = 0.0,
    expected_tokens: int | None = None,
    timeout_s: float = 120.0,
) -> LoadResult:
    """Sends `requests` requests, `concurrency` at a time, taking the bodies in turn.

    With `for_s` no request is sent after that time, and those under way are waited for. The
    connections start together, or spread evenly over `ramp_s`.
    """
    if requests is None and for_s == inf:
        raise ValueError("one of requests and for_s must be given")
    place = urlsplit(url)
    encoded = tuple(encode(place.netloc, path, headers or {}, body) for body in bodies)
    lines = 3 if path.endswith("/messages") else 2  # Anthropic's events have an `event:` line
    bare = 2 if path.endswith("/chat/completions") else 1
    host, port = place.hostname or "", place.port or 80
    target = Target(host, port, encoded, lines, bare, expected_tokens)
    tally = Tally(requests or sys.maxsize)
    workers = [Worker(target, tally) for _ in range(min(concurrency, tally.left))]
    await asyncio.gather(*(worker.connect() for worker in workers))
    tally.until_s = perf_counter() + for_s
    duration_s = await drive(workers, timeout_s, ramp_s)
    return tally.summary(concurrency, duration_s)


async def drive(workers: Sequence["Worker"], timeout_s: float, ramp_s: float) -> float:
    started_s = perf_counter()  # uvloop's own clock has a resolution of 1 ms
    for place, worker in enumerate(workers):
        if ramp_s:
            worker.loop.call_later(ramp_s * place / len(workers), worker.next)
        else:
            worker.next()
    everyone = asyncio.gather(*(worker.done for worker in workers))
    while not everyone.done():
        await asyncio.wait([everyone], timeout=SWEEP_S)
        for worker in workers:
            worker.expire(perf_counter() - timeout_s)
    return max(worker.finished_s for worker in workers) - started_s


def encode(netloc: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {"host": netloc, "content-type": "application/json", "content-length": str(len(body))}
    lines = "".join(f"{key}: {value}\r\n" for key, value in {**fields, **headers}.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Worker(asyncio.Protocol):
    """One connection: sends a request, reads its answer, sends the next, until none is left."""

    def __init__(self, target: Target, tally: Tally) -> None:
        self.target = target
        self.tally = tally
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None  # owned: `done` is set only after it
        self.busy = False
        self.finished_s = 0.0

    async def connect(self) -> None:
        """Leaves `transport` None when the server does not accept; the request then fails."""
        try:
            await self.loop.create_connection(lambda: self, self.target.host, self.target.port)
        except OSError:
            self.transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.busy:
            self.fail("connection closed" if self.status else "connection closed, no answer")

    def next(self) -> None:
        if not self.tally.left or perf_counter() > self.tally.until_s:
            self.leave()
            return
        self.tally.left -= 1
        if self.transport is None or self.transport.is_closing():
            self.task = self.loop.create_task(self.connect_and_send())
        else:
            self.send()

    def leave(self) -> None:
        self.finished_s = perf_counter()
        if self.transport:
            self.transport.close()
        self.done.set_result(None)

    async def connect_and_send(self) -> None:
        await self.connect()
        self.send()

    def send(self) -> None:
        tally = self.tally
        request = self.target.requests[tally.sent % len(self.target.requests)]
        tally.sent += 1
        self.busy = True
        self.status = 0
        self.head = b""
        self.lines = 0
        self.received = 0
        self.gaps: list[float] = []
        self.first_s = 0.0
        self.sent_s = self.last_s = perf_counter()
        if self.transport is None:
            self.fail("connection refused")
        else:
            self.transport.write(request)

    def expire(self, sent_before_s: float) -> None:
        if self.busy and self.sent_s < sent_before_s:
            self.fail("timeout")

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            return
        now_s = perf_counter()
        body = data if self.status else self.read_head(data)
        if body:
            self.count(body, now_s)
        if self.status and self.ended():
            self.finish(now_s)

    def read_head(self, data: bytes) -> bytes:
        """The part of `data` that belongs to the body."""
        head, separator, rest = (self.head + data).partition(b"\r\n\r\n")
        if not separator:
            self.head = head
            return b""
        self.status = int(head[9:12])
        found = LENGTH.search(head)
        self.length = int(found[1]) if found else None
        self.streamed = b"text/event-stream" in head
        if found is None and not CHUNKED.search(head):
            self.length = 1 << 62  # until the connection closes: counted as a failure
        self.end = b"\r\n"  # before the first chunk's size, so that every size line looks alike
        return rest

    def count(self, data: bytes, now_s: float) -> None:
        """Counts without decoding: inside an answer every CR belongs to the chunked encoding.

        JSON escapes line ends, so the LFs that are not CRLFs are the ends of events' lines,
        wherever the encoding or a read has cut them.
        """
        self.end = (self.end + data)[-KEPT_BYTES:]
        self.received += len(data)
        before = self.lines // self.target.lines_per_event
        self.lines += data.count(b"\n") - data.count(b"\r")
        events = self.lines // self.target.lines_per_event - before
        if events <= 0:
            return
        if self.first_s:
            self.gaps.append(now_s - self.last_s)
        else:
            self.first_s = now_s
        self.gaps.extend(ZEROS[: events - 1])
        self.last_s = now_s

    def ended(self) -> bool:
        if self.length is not None:
            return self.received >= self.length
        return self.end.endswith(b"\r\n0\r\n\r\n")

    def finish(self, now_s: float) -> None:
        plain = self.end if self.length is not None else CHUNK_LINE.sub(b"", self.end)
        tokens = self.tokens(plain)
        problem = self.problem(plain, tokens)
        if problem:
            self.fail(problem)
            return
        self.record(tokens, now_s)
        self.busy = False
        self.next()

    def tokens(self, end: bytes) -> int:
        """As the answer counts them; else its events, less those that carry no token."""
        counts = COUNTED.findall(end)
        if counts:
            return int(counts[-1])
        return max(0, self.lines // self.target.lines_per_event - self.target.bare_events)

    def problem(self, end: bytes, tokens: int) -> str:
        if self.status != 200:
            return f"HTTP {self.status}"
        if self.streamed and ERROR_EVENT.search(end):
            return "error event"
        if self.streamed and b"[DONE]" not in end and b"message_stop" not in end:
            return "stream ended without [DONE]"
        if self.target.expected_tokens not in (None, tokens):
            return f"{tokens} tokens instead of {self.target.expected_tokens}"
        return ""

    def record(self, tokens: int, now_s: float) -> None:
        tally, first_s = self.tally, self.first_s or now_s
        tally.succeeded += 1
        tally.output_tokens += tokens
        tally.chunks += self.lines // self.target.lines_per_event if self.streamed else 1
        tally.ttft_s.append(first_s - self.sent_s)
        tally.e2el_s.append(now_s - self.sent_s)
        tally.itl_s += self.gaps
        if tokens > 1:
            tally.tpot_s.append((now_s - first_s) / (tokens - 1))

    def fail(self, reason: str) -> None:
        self.tally.failures[reason] += 1
        self.busy = False
        if self.transport:
            self.transport.abort()
            self.transport = None
        # Not at once: a refusing server must not turn this into a recursion.
        self.loop.call_soon(self.next)
