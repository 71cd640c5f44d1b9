"""From a conversation to its task: the patterns that speak are weighed, and the lead is read."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from router.classify.conversation import Conversation, Turn
from router.classify.languages import Language, LanguageCode, language_of
from router.classify.rules import TASKS, Pattern, Rules, Task
from router.classify.view import View, view_of
from router.classify.zones import Zone, wish_of

# A wish stands first or last; the same words in between are more often material.
PROMINENT = 1.4
BURIED = 0.6
_PLAIN_CHARS = 200
# A follow-up is short, and points back or says nothing by itself.
_FOLLOW_UP_CHARS = 100
_SAYS_ENOUGH = 3.0
_OF_BEFORE = 0.7  # of what was said a turn before
_OF_BEFORE_A_CLEAR_WISH = 0.2
_OF_SYSTEM = 0.5
_SYSTEM_CHARS = 600  # a longer system prompt describes a whole product, not one task
_MATCHED_CHARS = 60
# Words that mean nothing without what stood before.
_POINTS_BACK = re.compile(
    r"""^\W*(?:and|or|but|what\sabout|how\sabout|are\syou\ssure|really|why)\b
    |\b(?:it|this|that|these|those|them|again|instead|same|more|now|also|above|shorter|longer
    |simpler|better|another|continue|go\son|next|previous|less|too|one\smore|so)\b
    |둘\s?중|그럼|그러면|하나\s?더|이번엔|이번에는|너무|좀\s더|넣어|빼고|말고|대신|말도|그래서|그거|그걸|그것
    |이거|이걸|이것|저거|그게|그건|그렇|거기|과정도|위에|위의|방금|아까|다시|계속|이어서|더|마저""",
    re.VERBOSE,
)
_TURNS_AWAY = re.compile(
    r"""\bbtw\b|\bby\sthe\sway\b
    |\b(?:different|other|new|another|unrelated)\s(?:thing|topic|question|subject)\b
    |그건\s그렇고|다른\s(?:얘기|질문|거|주제)|딴\s?(?:얘기|질문)|주제\s바꿔""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Spoken:
    """A pattern that matched, and what it gave."""

    pattern: str
    task: Task
    weight: float
    matched: str


@dataclass(frozen=True)
class Verdict:
    task: Task
    confidence: float
    language: LanguageCode
    mixed: bool
    scores: Mapping[Task, float]
    spoke: tuple[Spoken, ...]
    reason: str


def classify(conversation: Conversation, rules: Rules) -> Verdict:
    language = _language(conversation.text)
    spoke = _listen(conversation.text, conversation, rules)
    carried = _carried(conversation, spoke, rules)
    scores = _weigh(spoke + carried, rules)
    task, lead = _leader(scores)
    return Verdict(
        task=task,
        confidence=confidence(lead, rules),
        language=language.code,
        mixed=language.mixed,
        scores=scores,
        spoke=tuple(sorted(spoke + carried, key=lambda said: -abs(said.weight))),
        reason=_reason(task, spoke + carried),
    )


def _language(text: str) -> Language:
    """That of the wish, where the material is in another one."""
    whole = language_of(text)
    if not whole.mixed:
        return whole
    return Language(language_of(wish_of(text)).code, mixed=True)


def confidence(lead: float, rules: Rules) -> float:
    """How often a verdict with this lead was right, between the points of the calibration."""
    points = rules.calibration
    at = bisect_right(points, (lead, 1.0))
    if at == 0:
        return points[0][1]
    if at == len(points):
        return points[-1][1]
    (low, share), (high, next_share) = points[at - 1], points[at]
    return round(share + (next_share - share) * (lead - low) / (high - low), 3)


def _leader(scores: Mapping[Task, float]) -> tuple[Task, float]:
    ranked = sorted(TASKS, key=lambda task: -scores[task])
    return ranked[0], scores[ranked[0]] - scores[ranked[1]]


def _weigh(spoke: tuple[Spoken, ...], rules: Rules) -> dict[Task, float]:
    scores = {task: rules.base.get(task, 0.0) for task in TASKS}
    for said in spoke:
        scores[said.task] += said.weight
    return {task: round(score, 2) for task, score in scores.items()}


def _listen(text: str, conversation: Conversation, rules: Rules) -> tuple[Spoken, ...]:
    view = view_of(text, conversation, rules.misspellings)
    open_gates = {
        script: rules.gates[script].found_in(zone.text) if zone else frozenset()
        for script, zone in view.zones.items()
    }
    said = (_ask(p, view, open_gates[p.script]) for p in rules.patterns)
    return tuple(spoken for spoken in said if spoken is not None)


def _ask(pattern: Pattern, view: View, open_gates: frozenset[str]) -> Spoken | None:
    if not (pattern.needs <= view.signals and pattern.forbids.isdisjoint(view.signals)):
        return None
    if pattern.expression is None:
        return Spoken(pattern.name, pattern.task, pattern.weight, ", ".join(sorted(pattern.needs)))
    zone = view.zones[pattern.script]
    if zone is None or (pattern.gate and pattern.gate.isdisjoint(open_gates)):
        return None
    match = next(
        (m for m in pattern.expression.finditer(zone.text) if not zone.is_torn(*m.span())), None
    )
    if match is None:
        return None
    factor = _factor(zone, *match.span()) if pattern.script != "any" else 1.0
    return Spoken(
        pattern.name, pattern.task, round(pattern.weight * factor, 2), match[0][:_MATCHED_CHARS]
    )


def _factor(zone: Zone, start: int, end: int) -> float:
    if zone.is_prominent(start, end):
        return PROMINENT
    return 1.0 if len(zone.text) <= _PLAIN_CHARS else BURIED


def _carried(
    conversation: Conversation, spoke: tuple[Spoken, ...], rules: Rules
) -> tuple[Spoken, ...]:
    """What the turns before add: a short system prompt always, the others to a follow-up."""
    said: list[Spoken] = []
    share = _share_of_before(conversation.text, spoke)
    for turn in reversed(conversation.before):
        if turn.role == "system" and len(turn.text) <= _SYSTEM_CHARS:
            said.extend(_weaker(turn, _OF_SYSTEM, rules))
        elif turn.role == "assistant" and share and "```" in turn.text:
            said.append(Spoken("before: code block", "code", round(2 * share, 2), "```"))
        elif turn.role == "user" and share:
            said.extend(_weaker(turn, share, rules))
            share *= _OF_BEFORE
    return tuple(said)


def _share_of_before(text: str, spoke: tuple[Spoken, ...]) -> float:
    """How much of the turn before counts: none for a message that stands on its own."""
    own = max((said.weight for said in spoke if said.task != "general"), default=0.0)
    if len(text) > _FOLLOW_UP_CHARS:
        return 0.0
    if own >= _SAYS_ENOUGH:
        return _OF_BEFORE_A_CLEAR_WISH
    lower = text.lower()
    turns_away = _TURNS_AWAY.search(lower) or any(said.task == "general" for said in spoke)
    if turns_away and not _POINTS_BACK.search(lower):
        return _OF_BEFORE_A_CLEAR_WISH
    return _OF_BEFORE


def _weaker(turn: Turn, share: float, rules: Rules) -> list[Spoken]:
    return [
        Spoken(f"before: {said.pattern}", said.task, round(said.weight * share, 2), said.matched)
        for said in _listen(turn.text, Conversation(turn.text), rules)
    ]


def _reason(task: Task, spoke: tuple[Spoken, ...]) -> str:
    strongest = sorted((s for s in spoke if s.task == task), key=lambda s: -s.weight)[:3]
    names = ", ".join(said.pattern for said in strongest if said.weight > 0)
    return names or "no pattern of another task spoke louder"
