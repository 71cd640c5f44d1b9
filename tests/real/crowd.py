"""Many clients at once, and what each of them saw: for tests that kill engines under load.

Most of them are cheap, since they share the box's cores with the engines.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx2 as httpx
import openai

from tests.real.serving import KEY

_STREAMS = 20
_OF_THE_SDK = 4
_TOKENS = 150
_SHORT_EVERY_S = 0.05
_TIMEOUT_S = 120.0
_LONG: dict[str, Any] = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Count slowly, from one on."}],
    "max_tokens": _TOKENS,
    "stream": True,
}
_TO_ITS_END = {"ignore_eos": True}
_SHORT = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 4,
}


@dataclass
class Stream:
    """One streamed answer. `events` tells whether it had begun, `whole` whether it is complete."""

    replica: str = ""
    attempts: int = 0
    events: int = 0
    whole: bool = False
    error_event: str = ""
    exception: Exception | None = None


@dataclass
class Short:
    """One short answer that was not streamed; `status` is 0 when there was none."""

    asked_at: float
    seconds: float = 0.0
    status: int = 0
    attempts: int = 0
    said: str = ""


@dataclass
class Crowd:
    """Twenty streams, and from when they run a short request every 50 ms."""

    url: str
    streams: list[Stream] = field(default_factory=lambda: [Stream() for _ in range(_STREAMS)])
    shorts: list[Short] = field(default_factory=list)
    struck_at: float = 0.0

    async def see(self, strike: Callable[[], None], victim: str = "", ask_for_s: float = 0) -> None:
        """Strikes when an answer of the victim is under way; returns when every answer has ended.

        The short requests go on for `ask_for_s` after the strike.
        """
        async with (
            openai.AsyncOpenAI(
                base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=_TIMEOUT_S
            ) as sdk,
            aiohttp.ClientSession(
                self.url,
                headers={"authorization": f"Bearer {KEY}"},
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(_TIMEOUT_S),
            ) as http,
            asyncio.TaskGroup() as group,
        ):
            tasks = [
                group.create_task(_with_sdk(sdk, s) if i < _OF_THE_SDK else _plain(http, s))
                for i, s in enumerate(self.streams)
            ]
            while not any(s.events > 5 and s.replica.startswith(victim) for s in self.streams):
                assert not all(task.done() for task in tasks), self.streams
                await asyncio.sleep(0.01)
            asking = group.create_task(self._keep_asking(http, group)) if ask_for_s else None
            await asyncio.sleep(2 * _SHORT_EVERY_S)
            self.struck_at = time.monotonic()
            strike()
            await asyncio.sleep(ask_for_s)
            if asking:
                asking.cancel()

    async def _keep_asking(self, http: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        while True:
            self.shorts.append(Short(time.monotonic()))
            group.create_task(_ask(http, self.shorts[-1]))
            await asyncio.sleep(_SHORT_EVERY_S)


async def _plain(http: aiohttp.ClientSession, stream: Stream) -> None:
    try:
        async with http.post("/v1/chat/completions", json=_LONG | _TO_ITS_END) as answer:
            stream.replica = answer.headers.get("x-roundhouse-replica", "")
            stream.attempts = int(answer.headers.get("x-roundhouse-attempts", 0))
            async for line in answer.content:
                if line.startswith(b'data: {"error"'):
                    stream.error_event = line.decode()
                elif line.startswith(b"data: {"):
                    stream.events += 1
                    stream.whole = b'"finish_reason":"length"' in line
    except aiohttp.ClientError as error:
        stream.exception = error


async def _with_sdk(sdk: openai.AsyncOpenAI, stream: Stream) -> None:
    chats = sdk.chat.completions.with_raw_response
    try:
        raw = await chats.create(**_LONG, extra_body=_TO_ITS_END)
        stream.replica = raw.headers["x-roundhouse-replica"]
        stream.attempts = int(raw.headers["x-roundhouse-attempts"])
        async for event in raw.parse():
            stream.events += 1
            stream.whole = event.choices[0].finish_reason == "length"
    except openai.APIConnectionError as error:
        stream.exception = error
    except openai.APIError as error:  # what the SDK makes of an error event
        stream.error_event = str(error.body)
    except httpx.HTTPError as error:
        stream.exception = error


async def _ask(http: aiohttp.ClientSession, short: Short) -> None:
    try:
        async with http.post("/v1/chat/completions", json=_SHORT) as answer:
            short.status, short.said = answer.status, await answer.text()
            short.attempts = int(answer.headers.get("x-roundhouse-attempts", 0))
    except aiohttp.ClientError as error:
        short.said = repr(error)
    short.seconds = time.monotonic() - short.asked_at
