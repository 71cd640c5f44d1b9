"""How large one replica is: the least bytes of a GPU that it can live with, the most that it has a
use for, and what it makes of those that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from placement.footprint import kv
from placement.footprint.estimate import estimate, graphs_in_budget
from placement.footprint.overheads import context_bytes, headroom_bytes, warm_up_bytes
from placement.footprint.settings import Calibration, Device, Footprint, Settings, Term
from placement.models.facts import ModelFacts
from placement.plan.berths import Berth
from placement.plan.demand import Demand, Layout

# A replica whose context the plan may shorten is not worth a place with less than this.
_LEAST_CONTEXT_TOKENS = 8192
_MODEST_REQUESTS = 4  # at once and of the least context, or of the one that is asked for
_CONTEXT_STEP_TOKENS = 256
_SHARE_STEP = 0.001


@dataclass(frozen=True)
class Sizer:
    """One model in one layout on one kind of GPU."""

    demand: Demand
    layout: Layout
    berth: Berth
    calibration: Calibration | None = None

    @cached_property
    def least_bytes(self) -> int:
        """On each of its GPUs, everything included, with the KV cache in bytes that the engine is
        told, or for one request of the least context."""
        told = self.demand.settings.kv_cache_bytes
        return self._bytes(self._request_bytes if told is None else told)

    @cached_property
    def most_bytes(self) -> int | None:
        """None: a larger KV cache is always of use."""
        settings = self.demand.settings
        if settings.kv_cache_bytes is not None:
            return self.least_bytes
        if not self.demand.modest or settings.gpu_memory_utilization is not None:
            return None
        at_once = min(_MODEST_REQUESTS, settings.max_num_seqs or _MODEST_REQUESTS)
        return self._bytes(at_once * self._request_bytes)

    def settle(self, allotted_bytes: int, *, shared: bool = False) -> Footprint:
        """The footprint with `allotted_bytes` of each GPU, which has other tenants if `shared`.

        Alone, the engine measures for itself what is left for its KV cache. Beside others it gets
        the KV cache in bytes, since what it measures includes what they do meanwhile.
        """
        settings = self._with_share(allotted_bytes)
        device = self._device
        if shared:
            device = replace(device, free_bytes=allotted_bytes)
        if shared and settings.kv_cache_bytes is None:
            taken = self._outside_bytes(settings) + self._inside_bytes(settings)
            settings = replace(settings, kv_cache_bytes=max(1, allotted_bytes - taken))
        return longest_context(self.demand.facts, settings, device, self.calibration)

    def _bytes(self, kv_cache_bytes: int) -> int:
        settings = self._least_settings
        rounding = int(_SHARE_STEP * self._device.total_bytes)
        inside = self._inside_bytes(settings)
        return self._outside_bytes(settings) + inside + kv_cache_bytes + rounding

    @property
    def _request_bytes(self) -> int:
        return kv.needed_bytes(self.demand.facts, self._least_settings, self._device)

    @property
    def _least_settings(self) -> Settings:
        return replace(self._settings, max_model_len=self._least_context)

    @property
    def _settings(self) -> Settings:
        return replace(self.demand.settings, tp=self.layout.tp, pp=self.layout.pp)

    @property
    def _least_context(self) -> int:
        asked = self.demand.settings.max_model_len
        return asked or min(self.demand.facts.max_position_embeddings, _LEAST_CONTEXT_TOKENS)

    @property
    def _device(self) -> Device:
        return self.berth.device

    @cached_property
    def _terms(self) -> dict[str, int]:
        """Of the pipeline rank that has most. Which of them there are depends on the context's
        length as little as their sizes do."""
        footprint = estimate(
            self.demand.facts, self._least_settings, self._device, self.calibration
        )
        terms = max((rank.terms for rank in footprint.ranks), key=_total)
        return {term.name: term.n_bytes for term in terms}

    def _inside_bytes(self, settings: Settings) -> int:
        """What the engine takes of its share beside the KV cache, the margin included."""
        outside = 0 if graphs_in_budget(settings) else self._terms["cudagraph"]
        return sum(self._terms.values()) - outside

    def _outside_bytes(self, settings: Settings) -> int:
        """What must be free beside the engine's share: its context, and what it allocates last."""
        late = warm_up_bytes(self.demand.facts, settings) + headroom_bytes(
            settings, self._device, sure=False
        )
        graphs = 0 if graphs_in_budget(settings) else self._terms["cudagraph"]
        return context_bytes(settings, self._device) + late + graphs

    def _with_share(self, allotted_bytes: int) -> Settings:
        if self.demand.settings.gpu_memory_utilization is not None:
            return self._settings
        share = (allotted_bytes - self._outside_bytes(self._settings)) / self._device.total_bytes
        steps = max(1, int(share / _SHARE_STEP))
        return replace(self._settings, gpu_memory_utilization=round(steps * _SHARE_STEP, 3))


def _total(terms: Sequence[Term]) -> int:
    return sum(term.n_bytes for term in terms)


def longest_context(
    facts: ModelFacts, settings: Settings, device: Device, calibration: Calibration | None = None
) -> Footprint:
    """With the context that is asked for; left open, the model's own maximum or what fits of it.

    What does not fit at all comes back with the model's maximum, and does not fit.
    """

    def tried(tokens: int) -> Footprint:
        return estimate(facts, replace(settings, max_model_len=tokens), device, calibration)

    if settings.max_model_len is not None:
        return tried(settings.max_model_len)
    whole = tried(facts.max_position_embeddings)
    if whole.fits:
        return whole
    best, low, high = whole, 1, facts.max_position_embeddings // _CONTEXT_STEP_TOKENS
    while low <= high:
        middle = (low + high) // 2
        shorter = tried(middle * _CONTEXT_STEP_TOKENS)
        if shorter.fits:
            best, low = shorter, middle + 1
        else:
            high = middle - 1
    return best
