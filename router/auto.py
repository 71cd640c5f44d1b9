"""`model: auto`: from what a request says to the model that answers it, and why.

Classify, then choose, then remember where the conversation went. Belongs to the router's event
loop; time is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from common.errors import BadRequestError, UnavailableError
from common.quality_config import TASKS, ConversationConfig, Modality, Strategy
from router.choice import Candidate, Choice, Needs, choose
from router.classify import Conversation, Rules, Verdict, classify, of_text
from router.conversations import Conversations, Marks, key
from router.feedback.learning import Learning

AUTO = "auto"
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
_RETRY_AFTER_S = 5
# Characters a token, about: English has four or five, Korean one and a half.
_CHARS_PER_TOKEN = {"ko": 1.5}
_OTHER_CHARS_PER_TOKEN = 3.5
# Why a model was chosen, as a label of metrics: the first that holds.
Why = (
    Literal["explored", "stays", "only-candidate", "second-stage", "near-tie", "named-task"]
    | Strategy
)
# A request without text says nothing of its task.
_SILENT = Conversation("")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says outright: `auto:code`, `auto:speed`, or its `routing` object."""

    task: str | None = None
    strategy: Strategy | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The model that answers, what the request was taken for, and how the models compared."""

    model: str
    verdict: Verdict
    choice: Choice
    why: Why


def is_auto(name: str | None) -> bool:
    return name is not None and (name == AUTO or name.startswith(f"{AUTO}:"))


def names() -> tuple[str, ...]:
    """Every name that this module answers to, for the list of models."""
    return (AUTO, *(f"{AUTO}:{each}" for each in (*TASKS, *STRATEGIES)))


def wish_of(name: str, routing: Any = None) -> Wish:
    """Raises BadRequestError for a task or strategy that there is none of."""
    _, _, asked = name.partition(":")
    if asked and asked not in TASKS and asked not in STRATEGIES:
        raise BadRequestError(
            f"model {name!r}: after {AUTO!r} may stand a task ({', '.join(TASKS)}) or a strategy "
            f"({', '.join(STRATEGIES)})",
            param="model",
        )
    told = routing if isinstance(routing, dict) else {}
    if routing is not None and not isinstance(routing, dict):
        raise BadRequestError("routing must be an object", param="routing")
    _refuse_unknown(told)
    return Wish(
        task=_one_of("task", told.get("task"), TASKS) or (asked if asked in TASKS else None),
        strategy=_one_of("strategy", told.get("strategy"), STRATEGIES)
        or next((each for each in STRATEGIES if each == asked), None),
    )


class Auto:
    """Decides, and keeps a conversation on its model while that is right."""

    def __init__(
        self,
        rules: Rules,
        strategy: Strategy,
        conversations: ConversationConfig,
    ) -> None:
        self.learning: Learning | None = None
        self._rules = rules
        self._strategy = strategy
        self._conversations = Conversations(
            conversations.max_conversations,
            conversations.stay_s,
            conversations.switch_confidence,
        )
        # What the rules prepare at their first use is not to hold up the first request.
        classify(of_text("Hello. 안녕."), rules)

    def goes_on_from(self, other: Auto) -> None:
        """With its conversations."""
        self._conversations = other._conversations

    def decide(
        self,
        conversation: Conversation | None,
        wish: Wish,
        candidates: Sequence[Candidate],
        *,
        marks: Marks = Marks(),  # noqa: B008  # frozen
        now: float = 0.0,
        only_ask: bool = False,
        verdict: Verdict | None = None,
        by_second_stage: bool = False,
    ) -> Decision:
        """Raises UnavailableError when no model can take the request.

        With `only_ask` nothing is tried out and nothing is remembered. `verdict` is what `classify`
        gave already, or what the second stage made of it.
        """
        said = conversation or _SILENT
        verdict = verdict or self.classify(said, wish)
        of = key(marks)
        seat = self._conversations.seat(of, now)
        stays = seat is not None and self._conversations.stays(seat, verdict)
        choice = choose(
            verdict,
            needs_of(said, verdict),
            candidates,
            wish.strategy or self._strategy,
            stay=seat.model if seat and stays else None,
            cached=seat.model if seat else None,
        )
        if choice.model is None:
            raise UnavailableError(choice.reason, retry_after_s=_RETRY_AFTER_S)
        if by_second_stage:
            choice = replace(choice, reason=f"{choice.reason}; task by the second stage")
        best = choice
        if not only_ask:
            choice = self._explored(verdict, choice)
            self._conversations.keep(of, str(choice.model), verdict, now)
        strategy = wish.strategy or self._strategy
        why: Why = "second-stage" if by_second_stage else "named-task" if wish.task else strategy
        why = "explored" if choice is not best else _why(choice, why)
        return Decision(str(choice.model), verdict, choice, why)

    def classify(self, conversation: Conversation | None, wish: Wish) -> Verdict:
        return _as_wished(classify(conversation or _SILENT, self._rules), wish)

    def stays(self, verdict: Verdict, marks: Marks, now: float) -> bool:
        """Does the conversation have a model that this verdict does not move it from?"""
        seat = self._conversations.seat(key(marks), now)
        return seat is not None and self._conversations.stays(seat, verdict)

    def forget(self, model: str) -> None:
        """Its cache is gone."""
        self._conversations.forget(model)

    def _explored(self, verdict: Verdict, choice: Choice) -> Choice:
        if self.learning is None:
            return choice
        other = self.learning.explore(verdict.task, choice.open_to)
        return choice.trying(other) if other else choice


def needs_of(conversation: Conversation, verdict: Verdict) -> Needs:
    per_token = _CHARS_PER_TOKEN.get(verdict.language, _OTHER_CHARS_PER_TOKEN)
    modalities: set[Modality] = {"text"}
    if conversation.has_images:
        modalities.add("image")
    return Needs(
        prompt_tokens=int(conversation.n_chars / per_token),
        output_tokens=conversation.max_tokens,
        modalities=frozenset(modalities),
        tools=conversation.has_tools,
    )


def described(decision: Decision) -> Mapping[str, Any]:
    """A decision for people and scripts: `roundhouse route`, `POST /v1/route`."""
    verdict, choice = decision.verdict, decision.choice
    return {
        "model": decision.model,
        "task": verdict.task,
        "confidence": verdict.confidence,
        "language": verdict.language,
        "reason": choice.reason,
        "why": decision.why,
        "because": verdict.reason,
        "patterns": [
            {"pattern": s.pattern, "task": s.task, "weight": s.weight, "matched": s.matched}
            for s in verdict.spoke
        ],
        "candidates": [
            {
                "model": each.model,
                "score": round(each.score, 4),
                "quality": round(each.quality, 4),
                "quality_basis": each.basis,
                "quality_source": each.source,
                "expected_s": round(each.wait_s, 2),
                "loaded": each.loaded,
            }
            for each in choice.ranked
        ],
        "refused": [{"model": name, "why": why} for name, why in choice.refused],
    }


def _why(choice: Choice, by: Why) -> Why:
    if choice.stays:
        return "stays"
    if len(choice.ranked) == 1:
        return "only-candidate"
    return by if choice.model == choice.ranked[0].model or by == "second-stage" else "near-tie"


def _as_wished(verdict: Verdict, wish: Wish) -> Verdict:
    if wish.task is None:
        return verdict
    task = next(each for each in TASKS if each == wish.task)
    return replace(verdict, task=task, confidence=1.0, reason="the request names its task")


def _refuse_unknown(told: Mapping[str, Any]) -> None:
    """What only ensembles have may be there if it says no."""
    off = {key for key in ("ensemble", "trace") if not told.get(key)}
    unknown = told.keys() - off - {"task", "strategy", "keep_alive"}
    if unknown & {"trace"}:
        raise BadRequestError("routing.trace: only ensembles have one", param="routing")
    if unknown:
        raise BadRequestError(
            f"routing.{min(unknown)}: unknown; allowed: task, strategy, keep_alive, and ensemble, "
            "trace for ensembles",
            param="routing",
        )


def _one_of(field: str, value: Any, allowed: Sequence[Any]) -> Any:
    if value is None or value in allowed:
        return value
    raise BadRequestError(
        f"routing.{field}: {value!r} is none; one of: {', '.join(allowed)}", param="routing"
    )
