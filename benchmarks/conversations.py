"""Made-up conversations, the same in every run: what a prefix cache can gain by, and what not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.prompts import text

ZIPF: Final = 1.1  # of the shared system prompts: how much the first is asked more than the next


@dataclass(frozen=True)
class Turn:
    user: str
    answer: str
    think_s: float  # until the next turn


@dataclass(frozen=True)
class Conversation:
    session: str
    system: str
    turns: tuple[Turn, ...]

    def messages(self, turn: int, answers: Sequence[str] = ()) -> list[dict[str, str]]:
        """What a client sends at a turn; `answers` are the real ones, where there are any."""
        told = [{"role": "system", "content": self.system}] if self.system else []
        for place, each in enumerate(self.turns[: turn + 1]):
            told.append({"role": "user", "content": each.user})
            if place < turn:
                answer = answers[place] if place < len(answers) else each.answer
                told.append({"role": "assistant", "content": answer})
        return told

    def body(self, model: str, turn: int, answers: Sequence[str] = (), **more: Any) -> bytes:
        value = {"model": model, "user": self.session, "messages": self.messages(turn, answers)}
        return json.dumps({**value, **more}).encode()


@dataclass(frozen=True)
class Trace:
    name: str
    about: str
    conversations: tuple[Conversation, ...]
    gains: bool = True  # False where there is no prefix to find, which a policy must not harm

    @property
    def requests(self) -> int:
        return sum(len(each.turns) for each in self.conversations)


def traces(scale: float = 1.0, seed: int = 0) -> list[Trace]:
    """`scale` is how many conversations, of the usual number."""
    return [make(max(8, int(scale * count)), random.Random(seed)) for make, count in _TRACES]


def small(count: int, seed: int) -> Trace:
    """For real engines on a small machine: few tokens, half of them shared by a group."""
    rng = random.Random(seed)
    systems = [text(150, rng) for _ in range(6)]
    made = tuple(
        Conversation(str(n), _zipf(systems, rng), _turns(rng, rng.randint(2, 4), (20, 60), (8, 16)))
        for n in range(count)
    )
    return Trace("conversations", f"{count} of 2 to 4 turns on 6 system prompts", made)


def small_distinct(count: int, seed: int) -> Trace:
    """The same for real engines: as long as `small`'s prompts are, and nothing to be found."""
    rng = random.Random(seed + 1)  # no prompt of `small` either
    made = tuple(
        Conversation(f"distinct-{n}", "", _turns(rng, 1, (150, 250), (8, 16))) for n in range(count)
    )
    return Trace("distinct", f"{count} of one turn, nothing in common", made, gains=False)


def _chats(count: int, rng: random.Random) -> Trace:
    made = (
        Conversation(str(n), "", _turns(rng, rng.randint(2, 8), (20, 150), (40, 200)))
        for n in range(count)
    )
    return Trace("chats", "2 to 8 turns, nothing shared between conversations", tuple(made))


def _shared(count: int, rng: random.Random) -> Trace:
    systems = [text(rng.randint(300, 1200), rng) for _ in range(24)]
    made = (
        Conversation(
            str(n), _zipf(systems, rng), _turns(rng, rng.randint(1, 3), (20, 100), (40, 150))
        )
        for n in range(count)
    )
    return Trace("system prompts", f"1 to 3 turns on 24 prompts, Zipf {ZIPF}", tuple(made))


def _agents(count: int, rng: random.Random) -> Trace:
    system = text(2000, rng)
    made = (
        Conversation(str(n), system, _turns(rng, rng.randint(5, 20), (50, 500), (30, 150)))
        for n in range(count)
    )
    about = "5 to 20 turns that grow fast, one long prompt for all"
    return Trace("agents", about, tuple(made))


def _distinct(count: int, rng: random.Random) -> Trace:
    made = (Conversation(str(n), "", _turns(rng, 1, (100, 600), (40, 200))) for n in range(count))
    return Trace("distinct", "one turn each, nothing in common", tuple(made), gains=False)


_TRACES: Final[tuple[tuple[Callable[[int, random.Random], Trace], int], ...]] = (
    (_chats, 240),
    (_shared, 600),
    (_agents, 100),
    (_distinct, 600),
)


def _turns(
    rng: random.Random, count: int, user: tuple[int, int], answer: tuple[int, int]
) -> tuple[Turn, ...]:
    return tuple(
        Turn(text(rng.randint(*user), rng), text(rng.randint(*answer), rng), rng.expovariate(0.5))
        for _ in range(count)
    )


def _zipf(items: Sequence[str], rng: random.Random) -> str:
    weights = [1 / (place + 1) ** ZIPF for place in range(len(items))]
    return rng.choices(items, weights)[0]
