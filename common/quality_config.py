"""Config of the choice among models: what each is good for, its price, and what is learnt.

common/config.py takes these sections in, so they cannot build on its base class.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from common.units import Duration

Task = Literal["code", "analysis", "math", "translation", "summary", "creative", "general"]
Strategy = Literal["quality", "balanced", "speed", "cost"]
Modality = Literal["text", "image", "audio", "video"]

TASKS: tuple[Task, ...] = get_args(Task)
MOST_EXPLORATION = 0.05

_DAY_S = 86_400.0
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ModelQuality(_Section):
    """Keys of one entry of `models:`; they win over what its name and benchmarks suggest."""

    tasks: tuple[Task, ...] = Field(
        (), description="What the model is for; `auto` prefers it there, and others elsewhere."
    )
    quality: dict[Task, Share] = Field(
        default_factory=dict, description="Your own score of it by task, from 0 to 1."
    )
    cost_per_million_tokens: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="Price of a million tokens, in one currency for all models. Default: of a "
        "remote model what its price comes to, in US dollars; of others nothing.",
    )
    modalities: tuple[Modality, ...] | None = Field(
        None, description="What it takes beside text; default: what its name tells."
    )
    tools: bool | None = Field(None, description="Whether it can call tools.")


class LearningConfig(_Section):
    """`router.learning`: what ratings and checked outcomes may change."""

    enabled: bool = Field(default=True, description="Take feedback, and let it change the choice.")
    explore: Annotated[float, Field(ge=0, le=MOST_EXPLORATION)] = Field(
        0.0, description="Share of requests that try another model; 0.05 at the most."
    )
    seed: int | None = Field(None, description="Makes exploration repeatable.")
    decay_per_day: Annotated[float, Field(gt=0, le=1)] = Field(
        0.995, description="What is left of a rating's weight after a day."
    )
    prior_weight: Annotated[float, Field(gt=0)] = Field(
        60.0, description="How many ratings a published or configured score counts for."
    )
    shrinkage: Annotated[float, Field(gt=0)] = Field(
        20.0, description="Ratings of a model until half of what they say holds in other tasks too."
    )
    remember_s: Duration = Field(
        7 * _DAY_S, alias="remember", description="How long a request can be rated."
    )
    max_requests: Annotated[int, Field(ge=1)] = Field(
        100_000, description="Requests that are remembered for that."
    )


class ConversationConfig(_Section):
    """`router.conversations`: how long a conversation stays on its model."""

    stay_s: Duration = Field(
        1800.0, alias="stay", description="Without a request for so long it is forgotten."
    )
    max_conversations: Annotated[int, Field(ge=1)] = 10_000
    switch_confidence: Share = Field(
        0.9, description="How sure another task must be to move the conversation."
    )


class PatternConfig(_Section):
    """One entry of `router.patterns`: a sign of a task, written as in the router's own rules.

    One of a known name replaces that; with weight 0 it only turns it off.
    """

    name: Annotated[str, Field(min_length=1)]
    task: Task | None = Field(None, description="Needed unless the pattern turns another off.")
    weight: Annotated[float, Field(ge=-10, le=10)] = Field(
        description="Added to the task's score where the pattern speaks; 0 turns it off."
    )
    en: str | None = Field(None, description="Regular expression over the lower-cased text.")
    ko: str | None = Field(None, description="The same over the text without spaces.")
    any: str | None = Field(None, description="The same over the whole text, code included.")
    when: tuple[str, ...] = Field((), description="Signals; `-NAME` asks for one's absence.")


class SecondStageConfig(_Section):
    """`router.second_stage`: a model that is asked for the task where the rules are not sure."""

    model: str = Field(description="One of `models`; small and quick, it reads one prompt.")
    below: Share = Field(0.6, description="Asked where the rules' confidence is below this.")
    deadline_s: Duration = Field(
        0.3, alias="deadline", description="Past it the rules' verdict stands."
    )


class RouterQuality(_Section):
    """Keys of `router:` that concern the choice among models."""

    strategy: Strategy = Field("balanced", description="What `auto` weighs; a request may differ.")
    patterns: tuple[PatternConfig, ...] = Field(
        (), description="Signs of tasks beside the router's own, or in place of them."
    )
    second_stage: SecondStageConfig | None = Field(
        None, description="A model asked for the task where the rules are not sure; default: none."
    )
    learning: LearningConfig = LearningConfig()
    conversations: ConversationConfig = ConversationConfig()
