"""What is asked of a plan: a model, and whatever of its placement the user has fixed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from placement.footprint.settings import Settings
from placement.models.facts import ModelFacts

_VOCAB_PADDING = 64  # vLLM pads the vocabulary to a multiple of it


class Layout(NamedTuple):
    """How one replica is spread: `tp` ranks that split each layer, `pp` stages of layers."""

    tp: int
    pp: int

    @property
    def n_gpus(self) -> int:
        return self.tp * self.pp

    def __str__(self) -> str:
        parts = [f"TP {self.tp}"] if self.tp > 1 else []
        parts += [f"PP {self.pp}"] if self.pp > 1 else []
        return " x ".join(parts) or "one GPU"


@dataclass(frozen=True)
class Demand:
    """One model of the config. None is for the plan to choose.

    `settings` holds what the engine is told anyway; its tp and pp do not count, its max_model_len
    is None when the plan may shorten the context. `gpus` are indices
    of the inventory, in order, replica by replica. `modest`: it takes the KV cache that it needs
    for a few requests, and no more GPUs than it must, so that the rest is left to others.
    `kv_by_context`: its KV cache in bytes is so many whole contexts, and shrinks with them.
    """

    model: str
    facts: ModelFacts
    settings: Settings = field(default_factory=Settings)
    layout: Layout | None = None
    replicas: int | None = None
    gpus: tuple[int, ...] | None = None
    modest: bool = False
    kv_by_context: bool = False


def misfit(facts: ModelFacts, layout: Layout) -> str | None:
    """Why this model cannot be spread so, by vLLM's rules; None when it can.

    vLLM raises unless TP divides the query heads and the vocabulary; fewer KV heads than ranks are
    held twice, but must then divide the ranks.
    """
    tp, pp = layout
    if facts.n_heads % tp:
        return f"TP {tp} does not divide its {facts.n_heads} attention heads"
    if facts.n_kv_heads % tp and tp % facts.n_kv_heads:
        return f"TP {tp} and its {facts.n_kv_heads} KV heads do not divide one another"
    if -(-facts.vocab_size // _VOCAB_PADDING) * _VOCAB_PADDING % tp:
        return f"TP {tp} does not divide its vocabulary of {facts.vocab_size}"
    if pp > len(facts.layers):
        return f"PP {pp} is more than its {len(facts.layers)} layers"
    return None


def layouts(facts: ModelFacts, max_gpus: int) -> list[Layout]:
    """Every way to spread one replica over at most so many GPUs, the fewest GPUs first."""
    candidates = (
        Layout(tp, pp)
        for tp in range(1, max_gpus + 1)
        for pp in range(1, max_gpus // tp + 1)
        if misfit(facts, Layout(tp, pp)) is None
    )
    return sorted(candidates, key=lambda layout: (layout.n_gpus, layout.pp, layout.tp))
