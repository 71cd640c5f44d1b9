"""Engines with a prefix cache, simulated: which prompt tokens each policy finds cached.

Nothing here is shared with the router but the policies, and what they see and hear: the engine's
cache is a model of its own, in blocks of 16 tokens. Times are made up, and only decide what
overlaps.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.conversations import Conversation, Trace
from router.call import Call, call_of
from router.hits import HitWindow
from router.policies.base import Policy

TOKENS_PER_BLOCK: Final = 16
_BLOCK_BYTES: Final = 4 * TOKENS_PER_BLOCK
_PREFILL_TOKENS_PER_S: Final = 8000.0
_S_PER_TOKEN: Final = 0.02
_STAGGER_S: Final = 0.1  # between the first conversations
_PATH: Final = "/v1/chat/completions"

Chain = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One turn: what the router sees, and the blocks that the engine keeps, answer included."""

    call: Call
    prompt: Chain
    with_answer: Chain
    answer_tokens: int
    think_s: float


Script = tuple[Step, ...]


def prepare(trace: Trace) -> list[Script]:
    """Block ids are handed out one by one, so that no two blocks share one."""
    names: dict[tuple[int, bytes], int] = {}
    return [_script(conversation, names) for conversation in trace.conversations]


def _script(conversation: Conversation, names: dict[tuple[int, bytes], int]) -> Script:
    steps = []
    for place, turn in enumerate(conversation.turns):
        told = conversation.messages(place)
        prompt = "".join(f"<{each['role']}>{each['content']}" for each in told) + "<assistant>"
        step = Step(
            call_of(conversation.body("m", place), _PATH),
            _chain(prompt.encode(), names),
            _chain((prompt + turn.answer).encode(), names),
            len(turn.answer) // 4,
            turn.think_s,
        )
        steps.append(step)
    return tuple(steps)


def _chain(data: bytes, names: dict[tuple[int, bytes], int]) -> Chain:
    before, chain = -1, []
    for end in range(_BLOCK_BYTES, len(data) + 1, _BLOCK_BYTES):
        before = names.setdefault((before, data[end - _BLOCK_BYTES : end]), len(names))
        chain.append(before)
    return tuple(chain)


@dataclass
class Engine:
    """What a policy sees of a replica, and the cache that it does not see."""

    id: str
    capacity: int  # blocks
    max_in_flight: int = 256
    in_flight: int = 0
    tokens_in_flight: int = 0
    served: int = 0
    asked: int = 0
    hits: int = 0
    busy_s: float = 0.0  # in flight, summed over time
    changed_s: float = 0.0
    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)
    told: HitWindow = field(default_factory=HitWindow)

    def begin(self, step: Step, now_s: float) -> float:
        """Takes a prompt in; returns when its answer will be complete."""
        self._count(now_s, +1, step)
        found = 0
        while found < len(step.prompt) and step.prompt[found] in self.cache:
            found += 1
        self.asked += len(step.prompt)
        self.hits += found
        self._keep(step.prompt)
        missing = (len(step.prompt) - found) * TOKENS_PER_BLOCK
        return now_s + missing / _PREFILL_TOKENS_PER_S + step.answer_tokens * _S_PER_TOKEN

    def end(self, step: Step, now_s: float) -> None:
        self._count(now_s, -1, step)
        self.served += 1
        self._keep(step.with_answer)

    def _count(self, now_s: float, change: int, step: Step) -> None:
        self.busy_s += self.in_flight * (now_s - self.changed_s)
        self.changed_s = now_s
        self.in_flight += change
        self.tokens_in_flight += change * step.call.n_tokens

    def _keep(self, chain: Chain) -> None:
        for block in reversed(chain):  # the ends go first, as in the engine
            self.cache[block] = None
            self.cache.move_to_end(block)
        while len(self.cache) > self.capacity:
            self.cache.popitem(last=False)


@dataclass(frozen=True)
class Outcome:
    hit_ratio: float
    requests_spread: float  # max / mean over the replicas
    in_flight_spread: float  # the same of the requests in flight, averaged over time


def simulate(
    scripts: Sequence[Script], policy: Policy, engines: Sequence[Engine], concurrency: int
) -> Outcome:
    """`concurrency` conversations are held at a time; the next begins when one has ended."""
    play = _Play(scripts, policy, engines)
    for place in range(concurrency):
        play.open(place * _STAGGER_S)
    while play.events:
        play.step()
    return _outcome(engines)


@dataclass
class _Play:
    """What is still to happen, in order of time: prompts that are sent, answers that end."""

    scripts: Sequence[Script]
    policy: Policy
    engines: Sequence[Engine]
    events: list[tuple[float, int, int, int, Engine | None]] = field(default_factory=list)
    opened: int = 0
    added: int = 0

    def step(self) -> None:
        now_s, _, script, turn, engine = heapq.heappop(self.events)
        step = self.scripts[script][turn]
        if engine is None:
            chosen = self.policy.pick(self.engines, step.call)
            self._add(chosen.begin(step, now_s), script, turn, chosen)
            return
        engine.end(step, now_s)
        self._tell(engine)
        if turn + 1 < len(self.scripts[script]):
            self._add(now_s + step.think_s, script, turn + 1, None)
        else:
            self.open(now_s)

    def _tell(self, engine: Engine) -> None:
        """The policy hears of the engine's counters, as from a replica's report."""
        share = engine.told.share(engine.asked * TOKENS_PER_BLOCK, engine.hits * TOKENS_PER_BLOCK)
        if share is not None:
            self.policy.observe(engine.id, share)

    def open(self, at_s: float) -> None:
        """The next conversation, if there is one."""
        if self.opened < len(self.scripts):
            self._add(at_s, self.opened, 0, None)
            self.opened += 1

    def _add(self, at_s: float, script: int, turn: int, engine: Engine | None) -> None:
        heapq.heappush(self.events, (at_s, self.added, script, turn, engine))
        self.added += 1


def _outcome(engines: Sequence[Engine]) -> Outcome:
    return Outcome(
        sum(engine.hits for engine in engines) / max(1, sum(engine.asked for engine in engines)),
        spread([engine.served for engine in engines]),
        spread([engine.busy_s for engine in engines]),
    )


def spread(loads: Sequence[float]) -> float:
    """max / mean; 1 is even, len(loads) is all on one."""
    return max(loads) * len(loads) / sum(loads)
