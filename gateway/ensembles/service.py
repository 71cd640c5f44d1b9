"""Requests for ensembles: which one is asked for, who its members are, and how it ends.

Members are asked by the forwarder, as if each were a request of its own (asking.py, inner.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec

from common.config import Config
from common.errors import RoundhouseError
from gateway.chooser import Asked as AskedOfAuto
from gateway.chooser import Chooser, ClientGoneError, while_connected
from gateway.ensembles.asked import Asked, asked_of, is_asked
from gateway.ensembles.asking import Asking
from gateway.ensembles.explain import entry, explained
from gateway.ensembles.finding import Finding
from gateway.ensembles.incoming import Incoming
from gateway.ensembles.inner import CHAT, Inner
from gateway.ensembles.job import Job
from gateway.ensembles.line import Line
from gateway.ensembles.metrics import EnsembleMetrics
from gateway.ensembles.roster import roster_of
from gateway.ensembles.several import Sampling
from gateway.envelope import Envelope
from gateway.failing import own_fault, send_error
from gateway.forward import Forwarder
from gateway.keys import Headers
from gateway.metrics import Metrics
from gateway.upstream import RawHeaders
from router.auto import AUTO, is_auto, wish_of
from router.classify import read
from router.dispatch import Dispatcher
from router.ensembles.ask import Member, Request
from router.ensembles.asked import Known, recipe_of
from router.ensembles.naming import PREFIX
from router.ensembles.recipe import Recipe
from router.ensembles.run import Run
from router.feedback.learning import Learning

_log = logging.getLogger(__name__)
_NO_RETRY = (b"x-should-retry", b"false")  # it would cost the same once more


class Ensembles:
    """Belongs to the gateway's event loop."""

    def __init__(
        self,
        config: Config,
        dispatcher: Dispatcher,
        forwarder: Forwarder,
        chooser: Chooser,
        metrics: Metrics,
        learning: Learning | None = None,
    ) -> None:
        self.known = Known(dispatcher.names, config.ensembles, config.router.ensembles)
        self._dispatcher = dispatcher
        self._forwarder = forwarder
        self._chooser = chooser
        self._metrics = metrics
        self._learning = learning
        self._own_metrics = EnsembleMetrics(metrics.registry)
        self._sampling = Sampling(config.engine_of)
        self._running = 0
        self._idle = asyncio.Event()

    def asked(self, envelope: Envelope, body: bytes, path: str) -> Asked | None:
        """None for all other requests. Raises BadRequestError or ModelNotFoundError."""
        return asked_of(body, path, self.known) if is_asked(envelope) else None

    def entries(self, created: int) -> dict[str, dict[str, Any]]:
        """Those of the config by the names that clients use, as models."""
        recipes = (recipe_of(name, {}, self.known) for name in self.known.names)
        return {r.name: entry(r, self._dispatcher, created) for r in recipes if r}

    def explain(self, asked: Asked, headers: Headers) -> dict[str, Any]:
        """What it would do and cost at the most. Asks nobody."""
        chosen = None
        if AUTO in asked.recipe.members:
            body = msgspec.json.encode(asked.chat)
            of_auto = AskedOfAuto.of(AUTO, asked.routing or None, CHAT, headers, body)
            chosen = self._chooser.explain(of_auto)[0].model
        roster = self.roster(asked.recipe, asked.chat, asked.routing)
        return explained(asked, self._dispatcher, roster, chosen)

    async def idle(self, timeout_s: float) -> bool:
        """Waits until none is under way; False when time ran out first."""
        self._idle.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self._running:
                    await self._idle.wait()
                    self._idle.clear()
        except TimeoutError:
            return False
        return True

    async def answer(self, asked: Asked, incoming: Incoming) -> None:
        """Raises ClientGoneError when nobody waits any more."""
        line = Line(incoming.send, incoming.path, _headers(asked, incoming))
        self._running += 1
        try:
            work = self._answer(asked, incoming, line)
            status = await while_connected(incoming.receive, work)
            self._metrics.answered(self.label(asked.recipe), incoming.route, status)
        except ClientGoneError:
            self._metrics.hung_up(self.label(asked.recipe))
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    def label(self, recipe: Recipe) -> str:
        """For metrics, so that it is bounded in number."""
        known = recipe.name.removeprefix(f"{PREFIX}:") in self.known.ensembles
        return recipe.name if known else f"{PREFIX}:{recipe.kind}"

    def roster(self, recipe: Recipe, chat: dict[str, Any], routing: Any) -> dict[str, Member]:
        """What is known of the members, but for those that are chosen when they are asked."""
        names = [name for name in recipe.spec.models if not is_auto(name)]
        said = read(CHAT, msgspec.json.encode(chat))
        task = self._dispatcher.classify(said, wish_of(AUTO, routing or None)).task
        lanes = {name: self._dispatcher.route(name).lane for name in names}
        return roster_of(lanes, self._dispatcher.profiles, task, self._learning)

    async def _answer(self, asked: Asked, incoming: Incoming, line: Line) -> int:
        """The answer's status. A failure is answered, too."""
        try:
            await self._run(asked, incoming, line)
        except RoundhouseError as error:
            return await _fail(line, incoming, error)
        except Exception:  # noqa: BLE001  # the client has to be told
            _log.exception("request %s: a fault of the router's own", incoming.request_id)
            return await _fail(line, incoming, own_fault())
        return 200

    async def _run(self, asked: Asked, incoming: Incoming, line: Line) -> None:
        request = Request.of(asked.chat)
        finding = Finding(self._dispatcher, self._chooser, incoming, request, asked.routing)
        inner = Inner(self._forwarder, incoming.request_id, incoming.headers, incoming.keep_alive)
        job = Job(asked, request, line, incoming.request_id)
        asking = Asking(inner, finding, self._sampling, job.say if asked.streamed else None)
        run = Run(
            asked.recipe,
            asking,
            roster=self.roster(asked.recipe, asked.chat, asked.routing),
            progress=job.progress,
        )
        try:
            await job.answer(run)
        finally:
            confidence = job.outcome.confidence if job.outcome else None
            label = self.label(asked.recipe)
            self._own_metrics.ended(label, run.trace(), job.quorum_s, confidence)
            self._timed(label, incoming, asking.departed_at, line.begun_at)

    def _timed(self, label: str, incoming: Incoming, departed_at: float, begun_at: float) -> None:
        if departed_at and begun_at:
            first, last = begun_at - incoming.arrived_at, time.perf_counter() - incoming.arrived_at
            self._metrics.timed(label, departed_at - incoming.arrived_at, first, last)


def _headers(asked: Asked, incoming: Incoming) -> RawHeaders:
    recipe = asked.recipe
    reason = f"ensemble {recipe.kind} of {', '.join(recipe.members)}"
    return [
        (b"x-request-id", incoming.request_id.encode("latin-1")),
        (b"x-roundhouse-ensemble", _header(recipe.name)),
        (b"x-roundhouse-route", _header(reason)),
        _NO_RETRY,
    ]


def _header(text: str) -> bytes:
    return text.encode("ascii", "replace")


async def _fail(line: Line, incoming: Incoming, error: RoundhouseError) -> int:
    """As a status while there is none, else as an event."""
    if line.begun:
        await line.break_off(error)
        return 200
    extra = [pair for pair in line.headers if pair[0] != b"x-request-id"]
    await send_error(incoming.send, error, incoming.path, incoming.request_id, extra)
    return error.status
