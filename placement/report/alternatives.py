"""Why a model's options rank as they do: each against the first, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from placement.plan.options import Option
from placement.plan.plan import Plan
from placement.report.words import counted, gib, rate, spread, times, tokens

RANKING = "what fits comes first, then the most predicted tokens/s, then the fewest GPUs"
_ABOUT_EQUAL = 0.01


@dataclass(frozen=True)
class Alternative:
    """`rank` counts from 1; `chosen` is what replicas of this plan stand in."""

    rank: int
    option: Option
    chosen: bool
    why: str

    @property
    def title(self) -> str:
        option = self.option
        how = spread(option.layout, nvlink=option.nvlink)
        return f"{counted(option.replicas, 'replica')} on {how}, {option.gpu}"


def alternatives(plan: Plan, model: str) -> tuple[Alternative, ...]:
    ranked = plan.options.get(model, ())
    chosen = {(p.layout, p.berths[0].device.name) for p in plan.placements if p.model == model}
    return tuple(
        Alternative(
            rank=rank,
            option=option,
            chosen=option.fits and (option.layout, option.gpu) in chosen,
            why=why(option, ranked[0]),
        )
        for rank, option in enumerate(ranked, start=1)
    )


def not_first(plan: Plan, model: str) -> str:
    """Why the plan chose otherwise than the ranking; empty where it did not."""
    found = alternatives(plan, model)
    first = next((each.rank for each in found if each.chosen), None)
    if first is None or first == 1 or not found[0].option.fits:
        return ""
    others = len(plan.options) - 1
    if others:
        return f"the ranking is for the model alone; this box is shared with {others} more"
    return "those that rank higher are not possible with the GPUs or replicas that the config names"


def why(option: Option, first: Option) -> str:
    if not option.fits:
        return _shortage(option)
    if option.speed is None:
        return "speed not known: the catalogue has no spec sheet of this GPU"
    return "; ".join(_reasons(option, first))


def _shortage(option: Option) -> str:
    footprint = option.footprint
    if footprint.kv_cache_bytes <= 0:
        return f"does not fit: {gib(-footprint.kv_cache_bytes)} short without any KV cache"
    return (
        f"does not fit: the KV cache of {gib(footprint.kv_cache_bytes)} holds "
        f"{tokens(footprint.kv_cache_tokens)} tokens, less than one request of "
        f"{tokens(footprint.max_model_len)}"
    )


def _reasons(option: Option, first: Option) -> Iterator[str]:
    assert option.speed is not None
    speed, best = option.speed, first.tokens_per_s
    mine = option.tokens_per_s or 0.0
    if option is first:
        yield f"the most tokens/s, bound by {speed.bound}"
    elif best and mine < best * (1 - _ABOUT_EQUAL):
        yield f"{mine / best:.0%} of the first's tokens/s, bound by {speed.bound}"
    else:
        yield f"as many tokens/s as the first, bound by {speed.bound}"
    yield f"a replica serves {counted(speed.concurrency, 'request')} at once"
    yield f"one user alone reads {rate(speed.single_stream_tokens_per_s)} tokens/s"
    if option.layout.tp > 1 and not option.nvlink:
        yield "every layer waits for two exchanges over PCIe"
    idle = first.replicas * first.layout.n_gpus - option.replicas * option.layout.n_gpus
    if idle > 0:
        yield f"uses {counted(idle, 'GPU')} fewer"


def requests_at_once(option: Option) -> str:
    return times(option.footprint.max_concurrency)
