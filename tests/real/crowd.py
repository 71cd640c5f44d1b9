"""Many clients at once, and what each of them saw: for tests that kill engines under load.

Most of them are cheap, since they share the box's cores with the engines.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx2 as httpx
import openai

from tests.real.serving import KEY, RunningServer, wait_for

_STREAMS = 20
_OF_THE_SDK = 4
_SHORT_EVERY_S = 0.05
_TIMEOUT_S = 120.0
_LONG: dict[str, Any] = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Count slowly, from one on."}],
    "max_tokens": 250,
    "stream": True,
}
_TO_ITS_END = {"ignore_eos": True}
_NOT_RESUMED = {"logprobs": True}  # two engines' would not join
_SHORT = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 4,
}


@dataclass
class Stream:
    """One streamed answer: whether it began and became whole, and what came instead.

    A resumable one may go on at another replica; `seams` are the comments that say so.
    """

    resumable: bool
    seams: int = 0
    replica: str = ""
    begun: bool = False
    whole: bool = False
    error_event: str = ""
    exception: Exception | None = None


@dataclass
class Short:
    """One short answer that was not streamed; `status` is 0 when there was none."""

    status: int = 0
    attempts: int = 0
    said: str = ""
    seconds: float = 0.0


@dataclass
class Crowd:
    """Twenty streams, and once they are under way a short request every 50 ms."""

    server: RunningServer
    streams: list[Stream] = field(
        default_factory=lambda: [Stream(resumable=i % 4 < 2) for i in range(_STREAMS)]
    )
    shorts: list[Short] = field(default_factory=list)
    struck_at: float = 0.0

    async def see(self, strike: Callable[[], None], ask_for_s: float = 0) -> None:
        """Strikes when all streams are under way; returns when every answer has ended.

        The short requests go on for `ask_for_s` after the strike.
        """
        async with (
            openai.AsyncOpenAI(
                base_url=f"{self.server.url}/v1", api_key=KEY, max_retries=0, timeout=_TIMEOUT_S
            ) as sdk,
            aiohttp.ClientSession(
                self.server.url,
                headers={"authorization": f"Bearer {KEY}"},
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(_TIMEOUT_S),
            ) as http,
            asyncio.TaskGroup() as group,
        ):
            for i, stream in enumerate(self.streams):
                group.create_task(
                    _with_sdk(sdk, stream) if i < _OF_THE_SDK else _plain(http, stream)
                )
            await asyncio.to_thread(wait_for, self._is_under_way, 20, "streams under way")
            asking = group.create_task(self._keep_asking(http, group)) if ask_for_s else None
            # In a thread: this loop may lag behind the engines, which take all of the cores.
            await asyncio.to_thread(self._strike, strike)
            await asyncio.sleep(ask_for_s)
            if asking:
                asking.cancel()

    def _is_under_way(self) -> bool:
        return sum(row["in_flight"] for row in self.server.rows().values()) >= _STREAMS

    def _strike(self, strike: Callable[[], None]) -> None:
        time.sleep(1)  # the first tokens come
        self.struck_at = time.monotonic()
        strike()

    async def _keep_asking(self, http: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        while True:
            self.shorts.append(Short())
            group.create_task(_ask(http, self.shorts[-1]))
            await asyncio.sleep(_SHORT_EVERY_S)


async def _plain(http: aiohttp.ClientSession, stream: Stream) -> None:
    body = bytearray()
    try:
        async with http.post("/v1/chat/completions", json=_LONG | _wishes(stream)) as answer:
            stream.replica = answer.headers.get("x-roundhouse-replica", "")
            async for chunk in answer.content.iter_any():
                body += chunk
    except aiohttp.ClientError as error:
        stream.exception = error
    stream.begun = b'"delta"' in body
    stream.whole = b'"finish_reason":"length"' in body
    stream.seams = body.count(b"\n: resumed on replica ")
    failure = re.search(rb'^data: (\{"error".*)', body, re.MULTILINE)
    stream.error_event = failure[1].decode() if failure else ""


async def _with_sdk(sdk: openai.AsyncOpenAI, stream: Stream) -> None:
    chats = sdk.chat.completions.with_raw_response
    try:
        raw = await chats.create(**_LONG, extra_body=_wishes(stream))
        stream.replica = raw.headers["x-roundhouse-replica"]
        async for event in raw.parse():
            stream.begun = True
            stream.whole = event.choices[0].finish_reason == "length"
    except openai.APIConnectionError as error:
        stream.exception = error
    except openai.APIError as error:  # what the SDK makes of an error event
        stream.error_event = str(error.body)
    except httpx.HTTPError as error:
        stream.exception = error


def _wishes(stream: Stream) -> dict[str, Any]:
    return _TO_ITS_END if stream.resumable else _TO_ITS_END | _NOT_RESUMED


async def _ask(http: aiohttp.ClientSession, short: Short) -> None:
    began = time.monotonic()
    try:
        async with http.post("/v1/chat/completions", json=_SHORT) as answer:
            short.status, short.said = answer.status, await answer.text()
            short.attempts = int(answer.headers.get("x-roundhouse-attempts", 0))
    except aiohttp.ClientError as error:
        short.said = repr(error)
    short.seconds = time.monotonic() - began
