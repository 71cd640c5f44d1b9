"""From a member's name to its model: by name, or chosen by what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import msgspec

from gateway.chooser import Asked, Chooser
from gateway.ensembles.incoming import Incoming
from gateway.ensembles.inner import CHAT
from gateway.keys import Headers
from router.auto import AUTO, is_auto
from router.dispatch import Dispatcher, Route
from router.ensembles.ask import Member, Request


class Finding:
    """Of one request of a client. The same question to `auto` has the same model."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        chooser: Chooser,
        incoming: Incoming,
        own: Request,
        routing: dict[str, Any],
    ) -> None:
        self._dispatcher = dispatcher
        self._chooser = chooser
        self._incoming = incoming
        self._own = own
        self._routing = routing
        self._chosen: dict[tuple[str, str], Route] = {}

    async def __call__(self, member: Member, request: Request) -> Route:
        """Raises UnavailableError when no model can."""
        if not is_auto(member.model):
            return self._dispatcher.route(member.model)
        key = member.model, request.question
        if key not in self._chosen:
            self._chosen[key] = await self._choose(member.model, request)
        return self._chosen[key]

    async def _choose(self, name: str, request: Request) -> Route:
        # A question of our own making is none of the client's conversation.
        is_own = name == AUTO and request.question == self._own.question
        headers: Headers = dict(self._incoming.headers) if is_own else {}
        routing = self._routing if is_own else {**self._routing, "task": None}
        body = msgspec.json.encode(request.body(name, stream=False))
        asked = Asked.of(name, routing or None, CHAT, headers, body)
        decision = await self._chooser.decide(asked, _never, self._incoming.request_id)
        return self._dispatcher.chosen(decision)


async def _never() -> MutableMapping[str, Any]:
    """The client's hanging up cancels all of an ensemble; nobody else has to look for it."""
    nothing: asyncio.Future[MutableMapping[str, Any]]
    nothing = asyncio.get_running_loop().create_future()
    return await nothing
