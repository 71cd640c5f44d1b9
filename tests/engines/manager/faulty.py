"""Engines that take their time, fail now and then, and count what they really hold.

They keep books of their own, so that a fault in the manager's shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random

from engines.manager.amounts import Bytes, most, over, total
from engines.manager.model import ManagedModel


class FaultyEngines:
    """`faults` is the share of calls that fail. `over_commits` tells when, who and what."""

    def __init__(
        self,
        models: Iterable[ManagedModel],
        budget: Bytes,
        *,
        faults: float = 0.0,
        seed: int = 0,
        longest_s: float = 20.0,
    ) -> None:
        self.models = {model.name: model for model in models}
        self.held: dict[str, Bytes] = {name: {} for name in self.models}
        self.able: set[str] = set()  # that can answer
        self.calls: list[str] = []
        self.over_commits: list[str] = []
        self.overlaps: list[str] = []
        self.faults = faults
        self.refusal: Exception | None = None
        self._budget = budget
        self._random = Random(seed)
        self._longest_s = longest_s
        self._at_work: set[str] = set()

    async def load(self, model: str) -> None:
        await self._call("load", model, self.models[model].vram_bytes)
        self.able.add(model)

    async def wake(self, model: str) -> None:
        await self._call("wake", model, self.models[model].vram_bytes)
        self._hold(model, self.models[model].vram_bytes)
        self.able.add(model)

    async def sleep(self, model: str, level: int) -> None:
        self.able.discard(model)
        asleep = self.models[model].asleep_bytes[level]
        await self._call(f"sleep {level}", model, asleep)
        self._hold(model, asleep)

    async def unload(self, model: str) -> None:
        self.able.discard(model)
        await self._call("unload", model, {})
        self._hold(model, {})

    async def warm_up(self, model: str) -> None:
        self.calls.append(f"warm up {model}")

    async def _call(self, verb: str, model: str, takes: Bytes) -> None:
        """What it takes is held from the first moment, and what it held until it is done."""
        self.calls.append(f"{verb} {model}")
        if model in self._at_work:
            self.overlaps.append(f"{verb} {model}")
        self._at_work.add(model)
        try:
            self._hold(model, most(self.held[model], takes))
            await asyncio.sleep(self._random.uniform(0.0, self._longest_s))
            if self.refusal and verb != "unload":
                raise self.refusal
            if self._random.random() < self.faults:
                raise RuntimeError(f"{verb} failed at random")
        finally:
            self._at_work.discard(model)

    def _hold(self, model: str, amount: Bytes) -> None:
        self.held[model] = amount
        if short := over(total(self.held.values()), self._budget):
            now_s = asyncio.get_running_loop().time()
            self.over_commits.append(f"{now_s:.1f} s: {model} on {short}")
