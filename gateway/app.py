"""The endpoint as one ASGI application.

`Gateway` is called for every request: keys first, then either the hot path to an engine or the
FastAPI app of control.py. It is plain ASGI because FastAPI's own way in costs as much as the rest
of the hot path together.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time

import aiohttp

from common.config import Config
from common.errors import (
    BadRequestError,
    BodyTooLargeError,
    RoundhouseError,
    UnavailableError,
)
from gateway.applying import Applying
from gateway.chooser import Asked, Chooser, ClientGoneError
from gateway.choosing import made_out_to, session_of
from gateway.control import control_app
from gateway.ensembles.incoming import Incoming
from gateway.ensembles.service import Ensembles
from gateway.envelope import read_envelope
from gateway.exchange import Exchange, Receive, Scope, Send
from gateway.failing import own_fault, send_error
from gateway.feedback import keep_learning, open_learning
from gateway.forward import Forwarder
from gateway.keeper import Keeper
from gateway.keys import Headers, Keys
from gateway.metrics import Metrics
from router.auto import is_auto
from router.call import NO_CALL, Call, call_of
from router.dispatch import Dispatcher, Route
from router.feedback.learning import Learning

_log = logging.getLogger(__name__)
_OWN_PATHS = ("/v1/models", "/v1/route", "/v1/feedback")
_OPEN_PATHS = frozenset({"/health", "/ready"})
_ROUTES = frozenset(
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/score",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/systemone",
        "/rerank",
        "/v2/rerank",
        "/score",
        "/pooling",
        "/classify",
        "/tokenize",
        "/detokenize",
    ]
)
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Gateway:
    """ASGI callable. `start` and `stop` must run in the event loop that serves it."""

    def __init__(
        self,
        config: Config,
        dispatcher: Dispatcher,
        admin_token: str = "",
        keeper: Keeper | None = None,
    ) -> None:
        self.keeper = keeper
        self.applying: Applying | None = None  # set where another config may follow
        self.dispatcher = dispatcher
        self.draining = False
        self.config = config
        self._max_body_bytes = config.server.max_body_mib << 20
        tokens = (admin_token,) if admin_token and config.server.api_keys else ()
        self._keys = Keys((*config.server.api_keys, *tokens))
        self.metrics = Metrics(dispatcher)
        self.learning: Learning | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.forwarder = Forwarder(
            self.metrics,
            retry=self.config.router.retry,
            fallback=self.config.router.fallback,
            hedge=self.config.router.hedge,
            resume=self.config.router.resume,
            first_token_timeout_s=self.config.defaults.first_token_timeout_s,
            stall_timeout_s=self.config.defaults.stall_timeout_s,
            load_wait_s=self.config.defaults.load_timeout_s,
        )
        self.chooser = Chooser(self.dispatcher, self.config.router.second_stage, self.metrics)
        self.learning = open_learning(self.config, self.dispatcher.profiles)
        if self.learning:
            self.dispatcher.learn_from(self.learning)
            self._keeping = asyncio.create_task(keep_learning(self.learning))
        self.ensembles = Ensembles(
            self.config,
            self.dispatcher,
            self.forwarder,
            self.chooser,
            self.metrics,
            self.learning,
        )
        # For the slow side: health of remote endpoints, the engines' metrics.
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        if self.keeper:
            await self.keeper.start(self.session, self.metrics.registry)
        self._control = control_app(self)

    async def stop(self) -> None:
        if self.keeper:
            await self.keeper.stop()
        self.forwarder.close()
        self.chooser.close()
        if self._keeping and self.learning:
            self._keeping.cancel()
            await asyncio.to_thread(self.learning.close)
        await self.session.close()

    async def drain(self, timeout_s: float) -> bool:
        """No new requests from now on; True when all accepted ones have ended in time."""
        self.draining = True
        end_at = time.monotonic() + timeout_s
        await self.chooser.idle(timeout_s)
        await self.ensembles.idle(end_at - time.monotonic())
        return await self.forwarder.idle(end_at - time.monotonic())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._refuse_protocol(scope, send)
        arrived_at = time.perf_counter()
        path: str = scope["path"]
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        try:
            if path not in _OPEN_PATHS:
                self._keys.check(headers)
            if not self._is_forwarded(scope["method"], path):
                return await self._control(scope, receive, send)
            await self._forward(scope, receive, send, headers, request_id, arrived_at)
        except ClientGoneError:
            self.metrics.hung_up("")
        except RoundhouseError as error:
            self.metrics.answered("", _route(path), error.status)
            await send_error(send, error, path, request_id)
        except Exception:
            if not self._is_forwarded(scope["method"], path):
                raise  # control.py has answered, and the server logs it
            _log.exception("request %s: a fault of the router's own", request_id)
            self.metrics.answered("", _route(path), 500)
            await send_error(send, own_fault(), path, request_id)

    async def _forward(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Headers,
        request_id: str,
        arrived_at: float,
    ) -> None:
        if self.draining:
            raise UnavailableError("the server is shutting down", retry_after_s=10)
        body = await read_body(receive, headers, self._max_body_bytes)
        envelope = read_envelope(body, headers.get(b"content-type", b""), scope["query_string"])
        path, keep_alive = scope["path"], envelope.wished_keep_alive()
        ensemble = self.ensembles.asked(envelope, body, path)
        if ensemble is not None:
            incoming = Incoming(
                path=path,
                route=_route(path),
                headers=scope["headers"],
                request_id=request_id,
                arrived_at=arrived_at,
                receive=receive,
                send=send,
                keep_alive=keep_alive,
            )
            await self.ensembles.answer(ensemble, incoming)
            return
        if envelope.model is not None and is_auto(envelope.model):
            began = time.perf_counter()
            asked = Asked.of(envelope.model, envelope.routing, path, headers, body)
            decision = await self.chooser.decide(asked, receive, request_id)
            route, body = self.dispatcher.chosen(decision), made_out_to(decision.model, body)
            call = _call(route, body, path, headers)
            took_s = time.perf_counter() - began
            self.metrics.decided(route.task, decision.model, decision.why, took_s)
            if self.learning:
                self.learning.remember(request_id, route.task, decision.model)
        else:
            route = self.dispatcher.route(envelope.model)
            call = _call(route, body, path, headers)
        task = asyncio.current_task()
        assert task is not None
        exchange = Exchange(
            path=path,
            raw_path=scope["raw_path"],
            route=_route(path),
            query=scope["query_string"],
            method=scope["method"],
            headers=scope["headers"],
            body=body,
            request_id=request_id,
            reason=route.reason,
            arrived_at=arrived_at,
            receive=receive,
            send=send,
            task=task,
            call=call,
            streamed=bool(envelope.stream),
            keep_alive=keep_alive,
            task_name=route.task,
        )
        await self.forwarder.run(exchange, route.lane, route.fallbacks)

    def _is_forwarded(self, method: str, path: str) -> bool:
        """Whatever the engines' servers may have, except for what the router answers itself."""
        if method == "HEAD":
            return False
        if path.startswith("/v1/"):
            return not path.startswith(_OWN_PATHS)
        return method == "POST" and path in _ROUTES

    async def _refuse_protocol(self, scope: Scope, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003, "reason": "HTTP only"})


async def read_body(receive: Receive, headers: Headers, max_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLargeError as soon as it is known to be too large."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequestError("the request body ended early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the request body is larger than {max_bytes >> 20} MiB (server.max_body_mib)"
    )


def _call(route: Route, body: bytes, path: str, headers: Headers) -> Call:
    """What a policy may go by; nothing is read where there is no choice of replicas."""
    if len(route.lane.replicas) == 1:
        return NO_CALL
    return call_of(body, path, session_of(headers))


def _request_id(headers: Headers) -> str:
    given = headers.get(b"x-request-id", b"")
    if _REQUEST_ID.fullmatch(given):
        return given.decode("latin-1")
    return f"req-{random.getrandbits(128):032x}"  # a name, not a secret


def _route(path: str) -> str:
    return path if path in _ROUTES else "other"
