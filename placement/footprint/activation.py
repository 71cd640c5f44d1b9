"""The peak of PyTorch's memory above the weights, in the engine's profiling run.

Two peaks compete: the sampler's warm-up, which holds copies of max_num_seqs x vocabulary logits,
and the feed-forward of max_num_batched_tokens tokens. Later versions keep the experts' buffers,
so these add to the sampler's peak.
"""

from __future__ import annotations

from dataclasses import dataclass

from placement.footprint.constants import Era, constant, era_of
from placement.footprint.defaults import Resolved, itemsize, resolve
from placement.footprint.kinds import kinds
from placement.footprint.settings import Device, Settings
from placement.models.facts import Dense, Experts, ModelFacts

_LOGIT_BYTES = 4  # sampling is in float32
_SAMPLER_WIDTHS = 1.2  # hidden vectors a token alive beside the logits


@dataclass(frozen=True)
class Activation:
    """`uncertain_bytes`: how much more it is with the worse of the samplers that may be in use."""

    n_bytes: int
    uncertain_bytes: int
    source: str


def activation(
    facts: ModelFacts, settings: Settings, device: Device, *, rank: int | None = None
) -> Activation:
    """Of one pipeline rank; the last one samples. None: the last."""
    resolved = resolve(facts, settings, device)
    era = era_of(resolved.version)
    last = rank is None or rank == settings.pp - 1
    sampler = _sampler(facts, resolved, era.sampler_copies, era) if last else 0
    worst = _sampler(facts, resolved, era.sampler_copies_worst, era) if last else 0
    experts = _kept_by_experts(facts, settings, resolved) if era.moe_workspace else 0
    layers = _layers(facts, settings, resolved, era) + _between_stages(facts, settings, resolved)
    beside = _tower(facts, resolved)
    peak = max(_with_stages(sampler, facts, settings, resolved) + experts, layers) + beside
    peak_worst = max(_with_stages(worst, facts, settings, resolved) + experts, layers) + beside
    return Activation(peak, peak_worst - peak, _source(resolved, era, sampler + experts >= layers))


def _sampler(facts: ModelFacts, resolved: Resolved, copies: float, era: Era) -> int:
    width = itemsize(resolved.dtype)
    logits = resolved.max_num_seqs * facts.vocab_size * (_LOGIT_BYTES * copies + width)
    hidden = resolved.max_num_batched_tokens * facts.hidden_size * width * _SAMPLER_WIDTHS
    return int(logits + hidden) + era.base_bytes


def _layers(facts: ModelFacts, settings: Settings, resolved: Resolved, era: Era) -> int:
    """The widest feed-forward, and the hidden vectors that are alive with it."""
    widest = max(
        (_widths(x.feed_forward, facts, settings) for x in kinds(facts).layers), default=0.0
    )
    hidden = era.hidden_widths * facts.hidden_size
    return int(resolved.max_num_batched_tokens * itemsize(resolved.dtype) * (widest + hidden))


def _widths(part: Dense | Experts | None, facts: ModelFacts, settings: Settings) -> float:
    if part is None:
        return 0.0
    if isinstance(part, Dense):
        return (3 if part.gated else 2) * part.intermediate_size / settings.tp
    own = (3 if part.gated else 2) * part.intermediate_size / settings.tp
    routed = part.per_token * (own + facts.hidden_size)
    beside = 3 * part.shared_size / settings.tp
    return max(routed, beside, _widths(part.dense, facts, settings))


def _kept_by_experts(facts: ModelFacts, settings: Settings, resolved: Resolved) -> int:
    """Two buffers of every token's chosen experts, which all layers share."""
    experts = next(
        (x.feed_forward for x in facts.layers if isinstance(x.feed_forward, Experts)), None
    )
    if experts is None or is_mxfp4(facts, settings):
        return 0  # the MXFP4 kernels allocate as they go
    width, hidden = (
        experts.intermediate_size / settings.tp,
        experts.latent_size or facts.hidden_size,
    )
    first, second = max(width, hidden), max((2 if experts.gated else 1) * width, hidden)
    tokens = resolved.max_num_batched_tokens * experts.per_token
    return int(tokens * (first + second) * itemsize(resolved.dtype))


def is_mxfp4(facts: ModelFacts, settings: Settings) -> bool:
    method = facts.quantization.method if facts.quantization else ""
    return "mxfp4" in (settings.quantization or "") or "mxfp4" in method


def _between_stages(facts: ModelFacts, settings: Settings, resolved: Resolved) -> int:
    """What a pipeline rank passes on: hidden vector and residual, and the base that the other
    peak has already."""
    if settings.pp == 1:
        return 0
    return _passed_on(facts, resolved) + era_of(resolved.version).base_bytes


def _with_stages(n_bytes: int, facts: ModelFacts, settings: Settings, resolved: Resolved) -> int:
    return n_bytes + (_passed_on(facts, resolved) if n_bytes and settings.pp > 1 else 0)


def _passed_on(facts: ModelFacts, resolved: Resolved) -> int:
    vectors = 2 * resolved.max_num_batched_tokens * facts.hidden_size
    return vectors * itemsize(resolved.dtype)


def _tower(facts: ModelFacts, resolved: Resolved) -> int:
    """What the encoder puts out for a full batch is kept during the run."""
    if facts.tower is None:
        return 0
    kept = resolved.max_num_batched_tokens * facts.hidden_size * itemsize(resolved.dtype)
    return kept + constant("multimodal", "base")


def _source(resolved: Resolved, era: Era, sampler: bool) -> str:
    since = ".".join(map(str, era.since))
    what = (
        f"sampler's warm-up with {resolved.max_num_seqs} sequences"
        if sampler
        else f"feed-forward of {resolved.max_num_batched_tokens} tokens"
    )
    return f"{what}; constants since {since}: {era.source}"
