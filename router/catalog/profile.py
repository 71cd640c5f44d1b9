"""What a model is good for. The config wins over published figures, and these over a guess by size.

Feedback comes on top of that (router/feedback); a profile is what is known before any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.quality_config import TASKS, Modality, ModelQuality, Task
from router.catalog import prior
from router.catalog.benchmarks import table
from router.catalog.names import Kind, ModelName, read
from router.catalog.score import UNKNOWN, Score

# What `tasks:` says of a model without a figure: better there than any open model in the table,
# and elsewhere worse than its size would let one expect.
_DECLARED = Score(0.9, "config", "tasks names it")
_NOT_DECLARED = 0.8


@dataclass(frozen=True)
class Facts:
    """What the engine or the model's files tell; None is not known."""

    max_model_len: int | None = None
    modalities: frozenset[Modality] | None = None
    tools: bool | None = None
    size_b: float | None = None


@dataclass(frozen=True)
class Profile:
    """`quality` has every task. `languages` has what is known beside English."""

    model: str
    family: str | None
    kind: Kind
    size_b: float | None
    quality: Mapping[Task, Score]
    languages: Mapping[str, Score]
    max_model_len: int | None
    modalities: frozenset[Modality] | None
    tools: bool | None
    cost_per_million_tokens: float | None


def profile(
    model: str,
    source: str | None = None,
    config: ModelQuality | None = None,
    facts: Facts | None = None,
) -> Profile:
    """`source` (a hub id, file or folder) tells more than the name that clients use."""
    config, facts = config or ModelQuality(), facts or Facts()
    name = _sized(_name(model, source), facts.size_b)
    return Profile(
        model=model,
        family=name.family,
        kind=name.kind,
        size_b=name.size_b,
        quality={task: _quality(name, task, config) for task in TASKS},
        languages={"ko": _korean(name)},
        max_model_len=facts.max_model_len,
        modalities=_modalities(name, config, facts),
        tools=next((t for t in (config.tools, facts.tools, name.tools) if t is not None), None),
        cost_per_million_tokens=config.cost_per_million_tokens,
    )


def _name(model: str, source: str | None) -> ModelName:
    """Of the source where that says anything; a URL or a folder often does not."""
    names = [read(each) for each in (source, model) if each]
    return next((name for name in names if name.family), names[0])


def _sized(name: ModelName, size_b: float | None) -> ModelName:
    return replace(name, size_b=size_b) if name.size_b is None and size_b else name


def _quality(name: ModelName, task: Task, config: ModelQuality) -> Score:
    if task in config.quality:
        return Score(config.quality[task], "config", "quality gives it")
    if task in config.tasks:
        return _DECLARED
    score = _published(name, task) or prior.of_task(name, task) or UNKNOWN
    if not config.tasks:
        return score
    return Score(score.value * _NOT_DECLARED, "config", f"tasks leaves it out; {score.source}")


def _published(name: ModelName, task: Task) -> Score | None:
    row = table().row(name)
    return table().score(row, table().tasks.get(task, ())) if row else None


def _korean(name: ModelName) -> Score:
    row = table().row(name)
    published = table().score(row, table().languages["ko"]) if row else None
    return published or prior.of_korean(name) or UNKNOWN


def _modalities(name: ModelName, config: ModelQuality, facts: Facts) -> frozenset[Modality] | None:
    if config.modalities is not None:
        return frozenset({"text", *config.modalities})
    if facts.modalities is not None:
        return facts.modalities
    return None if name.takes is None else frozenset({"text", *name.takes})
