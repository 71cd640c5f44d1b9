"""How many users one replica takes: by its KV cache, and by how fast each can read. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from common.units import format_bytes
from placement.inventory.catalogue import GpuSpec
from placement.plan.demand import Demand, Layout, misfit
from placement.plan.options import Option, speed_of
from placement.plan.speed import Speed, Workload


class Most(NamedTuple):
    """How many users, and what allows no more of them."""

    users: int
    limit: str


@dataclass(frozen=True)
class Crowd:
    """Requests of one shape to one model, each of which must come at a reading speed or faster."""

    demand: Demand
    workload: Workload
    least_tokens_per_s: float

    def held(self, option: Option) -> int:
        """Users whose requests are in the KV cache, and in the engine's batch, at once."""
        if not option.fits:
            return 0
        if option.speed:
            return option.speed.concurrency
        return min(self._kv_users(option), option.footprint.settings.max_num_seqs or 1 << 30)

    def most(self, option: Option, spec: GpuSpec | None) -> Most:
        """On one replica: none when it does not fit, or when even one user reads too slowly."""
        held = self.held(option)
        if option.speed and option.speed.stream_tokens_per_s < self.least_tokens_per_s:
            # The more users, the slower for each, so the numbers that are too many come last.
            fast_enough = bisect_left(
                range(1, held), 1, key=lambda users: int(self._too_slow(option, spec, users))
            )
            return Most(fast_enough, "reading speed")
        return Most(held, "KV cache" if held >= self._kv_users(option) else "max_num_seqs")

    def speed(self, option: Option, spec: GpuSpec | None, users: int) -> Speed | None:
        """Predicted for one replica with so many users."""
        settings = replace(option.footprint.settings, max_num_seqs=users)
        footprint = replace(option.footprint, settings=settings)
        return speed_of(footprint, spec, self.workload, nvlink=option.nvlink)

    def obstacle(self, ranked: Sequence[Option], spec: GpuSpec | None) -> str:
        """Why no option takes a single user."""
        if not ranked:
            layout = self.demand.layout or Layout(1, 1)
            return misfit(self.demand.facts, layout) or "its layout needs more GPUs than there are"
        alone = [speed for o in ranked if o.fits and (speed := self.speed(o, spec, 1))]
        if alone:
            fastest = max(speed.stream_tokens_per_s for speed in alone)
            return f"too slow: one user alone would get {fastest:.1f} tokens/s"
        nearest = max(ranked, key=lambda option: option.footprint.kv_cache_bytes)
        return _shortage(nearest)

    def _kv_users(self, option: Option) -> int:
        whole = self.workload.input_tokens + self.workload.output_tokens
        return option.footprint.kv_cache_tokens // whole

    def _too_slow(self, option: Option, spec: GpuSpec | None, users: int) -> bool:
        speed = self.speed(option, spec, users)
        return speed is None or speed.stream_tokens_per_s < self.least_tokens_per_s


def _shortage(option: Option) -> str:
    """Of the option that comes closest."""
    kv_bytes = option.footprint.kv_cache_bytes
    if kv_bytes <= 0:
        return f"does not fit, even on {option.layout}: {format_bytes(-kv_bytes)} short a GPU"
    return f"does not fit, even on {option.layout}: no room for the KV cache of one request"
