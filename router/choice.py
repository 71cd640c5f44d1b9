"""Which model answers: what cannot is refused, the rest is ranked by quality less expected wait.

Pure and deterministic: a verdict, what the request needs and a snapshot of the models in, a choice
with every candidate's figures out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from common.quality_config import Modality, Strategy
from router.catalog.score import UNKNOWN, Score

# Stand-ins until a figure has been measured: a slow first token and a slow stream of one user, and
# the load of a middle-sized model from a warm disk.
_TTFT_S = 0.5
_TOKENS_PER_S = 30.0
_LOAD_S = 60.0
_OUTPUT_TOKENS = 256

# Scores that differ by less are a tie, which the loaded and idle model wins.
NEAR = 0.01
# What the cached prefix of a conversation is worth, as quality.
_STAY = 0.05


class Verdict(Protocol):
    """What the classifier says of a request."""

    @property
    def task(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def language(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Weights:
    """A score is `quality` times the quality, less `per_second` of wait and `per_unit` of price."""

    quality: float
    per_second: float
    per_unit: float


# With "balanced", 25 s of wait are worth 0.1 of quality. The price of a request is small against
# that of a million tokens, hence the large factors.
WEIGHTS: Mapping[Strategy, Weights] = {
    "quality": Weights(1.0, 0.0005, 0.0),
    "balanced": Weights(1.0, 0.004, 1.0),
    "speed": Weights(0.25, 0.05, 0.0),
    "cost": Weights(0.5, 0.002, 50.0),
}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request asks of a model. `allowed` None: its key may use every model."""

    prompt_tokens: int = 0
    output_tokens: int | None = None
    modalities: frozenset[Modality] = frozenset({"text"})
    tools: bool = False
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model as it stands now. None is not known. `capacity`: requests that it works on at once.

    `quality` is by task, `languages` by language code. `writes` is False of embedding models.
    """

    name: str
    quality: Mapping[str, Score]
    loaded: bool = True
    healthy: bool = True
    in_flight: int = 0
    capacity: int = 1
    queued: int = 0
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    load_s: float | None = None
    max_model_len: int | None = None
    modalities: frozenset[Modality] | None = None
    tools: bool | None = None
    writes: bool = True
    cost_per_million_tokens: float | None = None
    languages: Mapping[str, Score] = field(default_factory=dict)

    @property
    def load(self) -> float:
        return (self.in_flight + self.queued) / max(1, self.capacity)


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate's score and its parts: score = quality - wait - cost + stay, all weighted."""

    model: str
    score: float
    quality: float
    basis: str
    source: str
    wait_s: float
    wait: float
    cost: float
    stay: float
    loaded: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """`model` is None when every one was refused. `ranked` has the best score first."""

    model: str | None
    reason: str
    ranked: tuple[Scored, ...]
    refused: tuple[tuple[str, str], ...]
    stays: bool = False

    @property
    def open_to(self) -> tuple[str, ...]:
        """Models that may be tried instead: loaded ones, and none when the conversation stays."""
        return () if self.stays else tuple(each.model for each in self.ranked if each.loaded)

    def trying(self, model: str) -> Choice:
        if model == self.model or model not in self.open_to:
            return self
        return replace(self, model=model, reason=f"trying another model than {self.model}")


def choose(
    verdict: Verdict,
    needs: Needs,
    candidates: Sequence[Candidate],
    strategy: Strategy = "balanced",
    *,
    stay: str | None = None,
    cached: str | None = None,
) -> Choice:
    """`stay` is the model that the conversation must keep, if it can still answer from its cache.

    `cached` is a model that holds the conversation's prefix, and may lose it for a better one.
    """
    able, refused = _sift(needs, candidates)
    weights = WEIGHTS[strategy]
    scored = [(each, _score(verdict, needs, each, weights, cached)) for each in able]
    ranked = tuple(s for _, s in sorted(scored, key=lambda pair: (-pair[1].score, pair[0].name)))
    if not ranked:
        return Choice(None, _nobody(refused), (), refused)
    if stay and any(each.name == stay and each.loaded for each in able):
        return Choice(stay, "the conversation stays", ranked, refused, stays=True)
    best = _best(scored, ranked[0].score)
    return Choice(best.model, _why(verdict, best, strategy, ranked), ranked, refused)


def _sift(
    needs: Needs, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], tuple[tuple[str, str], ...]]:
    """Those that can answer, and why the others cannot.

    A model of which it is not known what it takes is asked only when nobody is known to be able.
    """
    able, unsure, refused = [], [], []
    for candidate in candidates:
        if why := _refusal(needs, candidate):
            refused.append((candidate.name, why))
        elif doubt := _doubt(needs, candidate):
            unsure.append((candidate, doubt))
        else:
            able.append(candidate)
    if able:
        refused.extend((candidate.name, doubt) for candidate, doubt in unsure)
    return able or [candidate for candidate, _ in unsure], tuple(refused)


def _refusal(needs: Needs, candidate: Candidate) -> str | None:
    if needs.allowed is not None and candidate.name not in needs.allowed:
        return "the key may not use it"
    if not candidate.writes:
        return "writes no text"
    if not candidate.healthy:
        return "no replica is healthy"
    wanted = needs.prompt_tokens + (needs.output_tokens or 0)
    if candidate.max_model_len is not None and wanted > candidate.max_model_len:
        return f"about {wanted} tokens do not fit its {candidate.max_model_len}"
    if candidate.modalities is not None and (lacking := needs.modalities - candidate.modalities):
        return f"takes no {' or '.join(sorted(lacking))}"
    if needs.tools and candidate.tools is False:
        return "calls no tools"
    return None


def _doubt(needs: Needs, candidate: Candidate) -> str | None:
    if candidate.modalities is None and (beside := needs.modalities - {"text"}):
        return f"may take no {' or '.join(sorted(beside))}"
    if needs.tools and candidate.tools is None:
        return "may call no tools"
    return None


def _score(
    verdict: Verdict, needs: Needs, candidate: Candidate, weights: Weights, cached: str | None
) -> Scored:
    quality, known = _quality(verdict, candidate)
    output_tokens = _OUTPUT_TOKENS if needs.output_tokens is None else needs.output_tokens
    wait_s = expected_s(candidate, output_tokens)
    wait = weights.per_second * wait_s
    price = (candidate.cost_per_million_tokens or 0.0) / 1e6
    cost = weights.per_unit * price * (needs.prompt_tokens + output_tokens)
    stay = _STAY if cached == candidate.name and candidate.loaded else 0.0
    score = weights.quality * quality - wait - cost + stay
    return Scored(
        model=candidate.name,
        score=score,
        quality=quality,
        basis=known.basis,
        source=known.source,
        wait_s=wait_s,
        wait=wait,
        cost=cost,
        stay=stay,
        loaded=candidate.loaded,
    )


def _quality(verdict: Verdict, candidate: Candidate) -> tuple[float, Score]:
    """For the task as far as the verdict is sure of it, and for general chat as far as it is not.

    In another language than English, how well the model has it counts as much as the task.
    """
    task = candidate.quality.get(verdict.task, UNKNOWN)
    general = candidate.quality.get("general", UNKNOWN)
    quality = verdict.confidence * task.value + (1 - verdict.confidence) * general.value
    language = candidate.languages.get(verdict.language)
    return (quality + language.value) / 2 if language else quality, task


def expected_s(candidate: Candidate, output_tokens: int) -> float:
    """Until the last token: load, queue, first token and stream."""
    ttft_s = _TTFT_S if candidate.ttft_s is None else candidate.ttft_s
    answer_s = ttft_s + output_tokens / (candidate.tokens_per_s or _TOKENS_PER_S)
    # Each of `capacity` slots is free once an answer; so many must be before it is our turn.
    before = max(0, candidate.in_flight + candidate.queued - candidate.capacity + 1)
    queue_s = before * answer_s / max(1, candidate.capacity)
    if candidate.loaded:
        return queue_s + answer_s
    return queue_s + answer_s + (_LOAD_S if candidate.load_s is None else candidate.load_s)


def _best(scored: Sequence[tuple[Candidate, Scored]], top: float) -> Scored:
    """Of those within NEAR of the top: loaded before not, idle before busy, then by score."""
    near = [pair for pair in scored if pair[1].score >= top - NEAR]
    _, best = min(
        near, key=lambda pair: (not pair[0].loaded, pair[0].load, -pair[1].score, pair[0].name)
    )
    return best


def _why(verdict: Verdict, best: Scored, strategy: Strategy, ranked: Sequence[Scored]) -> str:
    """Short and in ASCII, for it travels in a header."""
    said = f"{verdict.task} {verdict.confidence:.2f} {verdict.language}"
    if len(ranked) == 1:
        return f"{said}; only model that can"
    tie = "near tie, the freer one" if best is not ranked[0] else f"best by {strategy}"
    return f"{said}; {tie} of {len(ranked)}: quality {best.quality:.2f}, {best.wait_s:.1f} s"


def _nobody(refused: Sequence[tuple[str, str]]) -> str:
    if not refused:
        return "there is no model"
    return f"no model can: {'; '.join(f'{name}: {why}' for name, why in refused)}"
