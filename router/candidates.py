"""The models as they stand now, for the choice among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from common.config import Config
from common.ollama_names import bare
from engines.base import EngineStatus, State
from engines.endpoint import cost_per_million_tokens
from router.catalog.profile import Facts, Profile, profile
from router.catalog.score import Score
from router.choice import Candidate
from router.feedback.learning import Learning
from router.files import facts_on_disk
from router.replicas import Lane


def profiles_of(config: Config) -> dict[str, Profile]:
    """What is known of each model before any feedback."""
    return {name: profile_of(config, name) for name in config.models}


def profile_of(config: Config, name: str, facts: Facts | None = None) -> Profile:
    """`facts` are the engine's own; without them the model's files on this disk are read."""
    model = config.models[name]
    facts = facts or facts_on_disk(config, name)
    known = profile(name, source=bare(model.sources[0]), config=model, facts=facts)
    return replace(known, cost_per_million_tokens=cost_per_million_tokens(config, name))


def facts_of(status: EngineStatus) -> Facts | None:
    """What an engine's report tells of its model; None where that is nothing."""
    told = Facts(
        modalities=status.modalities,  # type: ignore[arg-type]  # engines name them as the config
        tools=status.tools,
        size_b=status.size_b,
    )
    return None if told == Facts() else told


def of_profiles(profiles: Iterable[Profile], learning: Learning | None = None) -> list[Candidate]:
    """As if all were loaded and idle: what `roundhouse route` goes by without a running server."""
    return [_candidate(each, learning) for each in profiles]


def of_lanes(
    lanes: Mapping[str, Lane], profiles: Mapping[str, Profile], learning: Learning | None = None
) -> list[Candidate]:
    return [_of_lane(lane, profiles[name], learning) for name, lane in lanes.items()]


def _of_lane(lane: Lane, known: Profile, learning: Learning | None) -> Candidate:
    up = [replica for replica in lane.replicas if replica.state is State.READY]
    coming = any(r.state in {State.STARTING, State.LOADING} for r in lane.replicas)
    return _candidate(
        known,
        learning,
        loaded=any(replica.loaded is not False for replica in up),
        load_s=lane.load_s,
        healthy=bool(up) or coming or lane.can_load,
        in_flight=sum(replica.in_flight for replica in up),
        capacity=sum(replica.max_in_flight for replica in up) or 1,
        queued=lane.queued,
        max_model_len=lane.context_len or known.max_model_len,
    )


def _candidate(known: Profile, learning: Learning | None, **state: object) -> Candidate:
    quality: dict[str, Score] = dict(known.quality)  # type: ignore[arg-type]  # its keys are str
    if learning:
        quality |= learning.quality(known.model)
    fixed: dict[str, object] = {"max_model_len": known.max_model_len}
    return Candidate(
        name=known.model,
        quality=quality,
        languages=known.languages,
        modalities=known.modalities,
        tools=known.tools,
        writes=known.kind != "embedding" or any(s.basis == "config" for s in quality.values()),
        cost_per_million_tokens=known.cost_per_million_tokens,
        **{**fixed, **state},  # type: ignore[arg-type]
    )
