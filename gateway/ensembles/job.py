"""One request for an ensemble, from its first member to its last byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.ensembles.asked import Asked
from gateway.ensembles.line import Line
from gateway.ensembles.surface import Frame, Spoken, Stream, pieces_of
from gateway.ensembles.told import answered_by, beside, trace_json
from router.ensembles.ask import Request, Usage
from router.ensembles.kinds import execute
from router.ensembles.run import Outcome, Run
from router.ensembles.trace import Trace


class Job:
    """`start` makes the run, which has to be inside the event loop's task."""

    def __init__(self, asked: Asked, request: Request, line: Line, request_id: str) -> None:
        self.outcome: Outcome | None = None
        self.quorum_s: float | None = None
        self._asked = asked
        self._request = request
        self._line = line
        self._id = f"chatcmpl-{request_id.removeprefix('req-')}"
        self._created = int(time.time())
        self._began_at = time.perf_counter()
        self._stream: Stream | None = None

    async def say(self, model: str, pieces: list[dict[str, Any]]) -> None:
        """Parts of the answer, as they come."""
        if self._stream is None:
            self._stream = self._asked.surface.stream(self._frame(model))
        await self._line.put(self._stream.pieces(pieces))

    def progress(self, phase: str, voices: int, planned: int) -> None:
        if self.quorum_s is None and voices >= self._asked.recipe.spec.quorum:
            self.quorum_s = time.perf_counter() - self._began_at
        self._line.progress(phase, voices, planned)

    async def answer(self, run: Run) -> None:
        """Raises RoundhouseError when there is none."""
        work = self._streamed if self._asked.streamed else self._whole
        await work(run)

    async def _whole(self, run: Run) -> None:
        self.outcome = await execute(run, self._request)
        trace = run.trace()
        model = answered_by(self.outcome, trace)
        spoken = self._spoken(self.outcome, trace)
        self._line.headers.append((b"x-roundhouse-model", model.encode()))
        await self._line.whole(self._asked.surface.whole(self._frame(model), spoken))

    async def _streamed(self, run: Run) -> None:
        self.outcome = await _beside(self._line.beat, self._line.hush, execute(run, self._request))
        trace = run.trace()
        spoken = self._spoken(self.outcome, trace)
        if self._stream is None:
            await self.say(answered_by(self.outcome, trace), pieces_of(spoken))
        assert self._stream is not None
        await self._line.end(self._stream.end(spoken))

    def _spoken(self, outcome: Outcome, trace: Trace) -> Spoken:
        asked = self._asked
        return Spoken(
            [voice.choice for voice in outcome.voices],
            Usage(trace.prompt_tokens, trace.output_tokens),
            beside(outcome, trace) if asked.recipe.kind == "compare" else (),
            trace_json(trace, outcome.confidence) if asked.wants_trace else None,
        )

    def _frame(self, model: str) -> Frame:
        asked = self._asked
        prompt = self._request.prompt_tokens
        return Frame(self._id, self._created, model, prompt, asked.wants_usage)


async def _beside(
    beat: Callable[[], Awaitable[None]], hush: Callable[[], None], work: Awaitable[Outcome]
) -> Outcome:
    """The work's result, with heartbeats while it lasts. They end whole, never in the middle."""
    beating = asyncio.ensure_future(beat())
    try:
        return await work
    except asyncio.CancelledError:
        beating.cancel()
        raise
    finally:
        hush()
        await asyncio.gather(beating, return_exceptions=True)
