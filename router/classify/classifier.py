"""From a conversation to its task: the patterns that speak are weighed, and the lead is read."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from common.quality_config import TASKS, Task
from router.classify.conversation import Conversation, Turn, clip
from router.classify.languages import Language, LanguageCode, language_of
from router.classify.rules import Pattern, Rules
from router.classify.view import View, view_of
from router.classify.zones import Zone, wish_of

# A wish stands first or last; the same words in between are more often material.
PROMINENT = 1.4
BURIED = 0.6
_PLAIN_CHARS = 200
# What was learned from prompts, beside the patterns: its name, and the weight of one unit of
# logarithmic odds.
LEARNED = "learned words"
LEARNED_WEIGHT = 1.5
_OF_FOLLOW_UP = (0.7, 0.3)
_OF_WHAT_IT_FOLLOWS = (0.5, 0.0)
_LESS_GENERAL = -1.5
OF_A_BLOCK = 0.3  # of what a code block weighs under a wish for something else
_LEAST_OWN_WISH = 20  # characters; less than that, as in "explain this", needs the block
# A follow-up is short, and points back or says nothing by itself.
_FOLLOW_UP_CHARS = 100
_SAYS_ENOUGH = 3.0
_OF_BEFORE = 0.7  # of what was said a turn before
_OF_SYSTEM = 0.5
_SYSTEM_CHARS = 600  # a longer system prompt describes a whole product, not one task
_MATCHED_CHARS = 60
_TURNS_REMEMBERED = 4096
_BEFORE_EDGE_CHARS = 150
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


class Spoken(NamedTuple):
    """A pattern that matched, and what it gave. A tuple: dozens are made for every request."""

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
    if _is_follow_up(conversation):
        spoke, carried = _doubted(spoke, _OF_FOLLOW_UP), _doubted(carried, _OF_WHAT_IT_FOLLOWS)
        carried += (Spoken("follow-up", "general", _LESS_GENERAL, ""),)
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
    view = view_of(text, conversation, rules.slips)
    asked = ((p, _ask(p, view)) for p in _in_question(view, rules))
    said = [(pattern, spoken) for pattern, spoken in asked if spoken is not None]
    if "fence" in view.signals and _wants_another_thing(view, said):
        said = [(p, _weighed(s, OF_A_BLOCK)) if _is_look(p) else (p, s) for p, s in said]
    return tuple(spoken for _, spoken in said) + _recall(view, rules)


def _in_question(view: View, rules: Rules) -> Iterator[Pattern]:
    """Those of which a text occurs that must, or that have none; in the rules' order."""
    places: set[int] = set()
    for script, zone in view.zones.items():
        if zone is not None:
            places.update(rules.behind.get((script, ""), ()))
            for text in rules.gates[script].found_in(zone.text):
                places.update(rules.behind[script, text])
    return (rules.patterns[at] for at in sorted(places))


def _recall(view: View, rules: Rules) -> tuple[Spoken, ...]:
    learned = rules.learned.listen(view) if rules.learned else None
    if learned is None:
        return ()
    first = max(learned.scores, key=learned.scores.__getitem__)
    return tuple(
        Spoken(
            LEARNED,
            task,
            round(LEARNED_WEIGHT * score, 2),
            learned.told[:_MATCHED_CHARS] if task == first else "",
        )
        for task, score in learned.scores.items()
        if score > 0
    )


def _weighed(spoken: Spoken, factor: float) -> Spoken:
    return spoken._replace(weight=round(spoken.weight * factor, 2))


def _is_look(pattern: Pattern) -> bool:
    """Speaks of how the text looks, code blocks included, not of what it asks for."""
    return pattern.script == "any" and pattern.task == "code"


def _wants_another_thing(view: View, said: Sequence[tuple[Pattern, Spoken]]) -> bool:
    """A wish that does without the code block, such as for a poem."""
    if view.n_prose_chars < _LEAST_OWN_WISH:
        return False
    wishes = [spoken for pattern, spoken in said if not _is_look(pattern)]
    code = max((s.weight for s in wishes if s.task == "code"), default=0.0)
    others = [s.weight for s in wishes if s.task not in ("code", "general")]
    return max(others, default=0.0) >= max(_SAYS_ENOUGH, code + 0.5)


def _ask(pattern: Pattern, view: View) -> Spoken | None:
    if not (pattern.needs <= view.signals and pattern.forbids.isdisjoint(view.signals)):
        return None
    if pattern.expression is None:
        return Spoken(pattern.name, pattern.task, pattern.weight, ", ".join(sorted(pattern.needs)))
    zone = view.zones[pattern.script]
    if zone is None:
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
            share = 0.0  # what was said before that hardly counts
    return tuple(said)


def _is_follow_up(conversation: Conversation) -> bool:
    return len(conversation.text) <= _FOLLOW_UP_CHARS and any(
        turn.role == "user" for turn in conversation.before
    )


def _doubted(spoke: tuple[Spoken, ...], shares: tuple[float, float]) -> tuple[Spoken, ...]:
    """What was learned, taken for less: it is of prompts that stand alone, where few and plain
    words are a question or a chat; the second share is that of `general`."""
    return tuple(
        _weighed(said, shares[said.task == "general"]) if LEARNED in said.pattern else said
        for said in spoke
    )


def _share_of_before(text: str, spoke: tuple[Spoken, ...]) -> float:
    """How much of the turn before counts: none for a message that stands on its own."""
    own = max(
        (s.weight for s in spoke if s.task != "general" and s.pattern != LEARNED), default=0.0
    )
    if len(text) > _FOLLOW_UP_CHARS:
        return 0.0
    if own >= _SAYS_ENOUGH:
        return 0.0
    lower = text.lower()
    turns_away = _TURNS_AWAY.search(lower) or any(
        said.task == "general" and said.pattern != LEARNED for said in spoke
    )
    if turns_away and not _POINTS_BACK.search(lower):
        return 0.0
    return _OF_BEFORE


def _weaker(turn: Turn, share: float, rules: Rules) -> list[Spoken]:
    return [
        Spoken(f"before: {said.pattern}", said.task, round(said.weight * share, 2), said.matched)
        for said in _listen_again(clip(turn.text, _BEFORE_EDGE_CHARS), rules)
    ]


@lru_cache(maxsize=_TURNS_REMEMBERED)
def _listen_again(text: str, rules: Rules) -> tuple[Spoken, ...]:
    """Of a turn before, which comes again with every request of its conversation."""
    return _listen(text, Conversation(text), rules)


def _reason(task: Task, spoke: tuple[Spoken, ...]) -> str:
    strongest = sorted((s for s in spoke if s.task == task), key=lambda s: -s.weight)[:3]
    names = ", ".join(said.pattern for said in strongest if said.weight > 0)
    return names or "no pattern of another task spoke louder"
