"""Asks the classifier about every prompt, as it is and said otherwise, and takes the time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import TypeVar

from benchmarks.routing_figures import Answer, Share, accuracy, macro_f1, percentile
from benchmarks.routing_noise import NOISES, Noise
from benchmarks.routing_set import CHAT, Prompt
from router.classify import Conversation, Rules, Verdict, classify, read

LEAST_ACCURACY = 0.80
LEAST_MACRO_F1 = 0.82
SURE = 0.9
LEAST_RIGHT_WHEN_SURE = 0.92
LEAST_SURE = 0.40
MOST_POINTS_LOST = 3.0
MOST_P99_MS = 2.0
_ROUNDS = 5

Item = TypeVar("Item")


@dataclass(frozen=True)
class Robustness:
    """Of the prompts that this noise changes."""

    name: str
    before: Share
    after: Share

    @property
    def lost_points(self) -> float:
        return 100 * (self.before.value - self.after.value)


@dataclass(frozen=True)
class Latency:
    """p50 and p99 over the prompts, each of which counts with the median of its rounds."""

    name: str
    prompts: int
    rounds: int
    p50_ms: float
    p99_ms: float
    most_ms: float  # of all single times


@dataclass(frozen=True)
class Measured:
    answers: tuple[Answer, ...]
    languages: Share  # where the verdict's language is the label's
    robustness: tuple[Robustness, ...]
    latency: tuple[Latency, ...]


@dataclass(frozen=True)
class Target:
    name: str
    wanted: str
    found: str
    reached: bool


def measure(prompts: Sequence[Prompt], rules: Rules, rounds: int = _ROUNDS) -> Measured:
    verdicts = [verdict_of(prompt, rules) for prompt in prompts]
    answers = [_answer(p, v) for p, v in zip(prompts, verdicts, strict=True)]
    languages = sum(v.language == p.lang for p, v in zip(prompts, verdicts, strict=True))
    return Measured(
        tuple(answers),
        Share(len(prompts), languages),
        tuple(robustness(noise, prompts, rules) for noise in NOISES),
        latency(prompts, rules, rounds),
    )


def verdict_of(prompt: Prompt, rules: Rules) -> Verdict:
    return classify(_conversation(prompt.body()), rules)


def robustness(noise: Noise, prompts: Sequence[Prompt], rules: Rules) -> Robustness:
    both = noise.of(prompts)
    before = [_answer(prompt, verdict_of(prompt, rules)) for prompt, _ in both]
    after = [_answer(prompt, verdict_of(changed, rules)) for prompt, changed in both]
    return Robustness(noise.name, accuracy(before), accuracy(after))


def latency(prompts: Sequence[Prompt], rules: Rules, rounds: int) -> tuple[Latency, ...]:
    bodies = [prompt.body() for prompt in prompts]
    read_already = [_conversation(body) for body in bodies]
    return (
        _timed("a decision", lambda found: classify(found, rules), read_already, rounds),
        _timed(
            "with reading the body",
            lambda body: classify(_conversation(body), rules),
            bodies,
            rounds,
        ),
    )


def targets(measured: Measured) -> list[Target]:
    answers = measured.answers
    korean = [answer for answer in answers if answer.prompt.lang == "ko"]
    found = [
        _at_least("accuracy", accuracy(answers).value, LEAST_ACCURACY),
        _at_least("macro-F1", macro_f1(answers), LEAST_MACRO_F1),
        *([_at_least("accuracy in Korean", accuracy(korean).value, LEAST_ACCURACY)] * bool(korean)),
        *_of_the_sure(answers),
        *(_robust(each) for each in measured.robustness if each.before.rows),
    ]
    p99_ms = measured.latency[0].p99_ms
    wanted = f"under {MOST_P99_MS:g} ms"
    return [*found, Target("p99 of a decision", wanted, f"{p99_ms:.2f} ms", p99_ms < MOST_P99_MS)]


def _of_the_sure(answers: Sequence[Answer]) -> list[Target]:
    sure = accuracy([answer for answer in answers if answer.confidence >= SURE])
    covered = Share(len(answers), sure.rows)
    return [
        _at_least(f"right at confidence {SURE:g}", sure.value, LEAST_RIGHT_WHEN_SURE),
        _at_least(f"covered at confidence {SURE:g}", covered.value, LEAST_SURE),
    ]


def _robust(found: Robustness) -> Target:
    wanted = f"at most {MOST_POINTS_LOST:g} points lost"
    reached = found.lost_points <= MOST_POINTS_LOST
    return Target(found.name, wanted, f"{found.lost_points:+.1f}", reached)


def _at_least(name: str, found: float, least: float) -> Target:
    return Target(name, f"at least {least:.2f}", f"{found:.3f}", found >= least)


def _answer(prompt: Prompt, verdict: Verdict) -> Answer:
    return Answer(prompt, verdict.task, verdict.confidence)


def _conversation(body: bytes) -> Conversation:
    found = read(CHAT, body)
    if found is None:
        raise AssertionError(f"no text was found in {body[:80]!r}")
    return found


def _timed(name: str, act: Callable[[Item], object], items: Sequence[Item], rounds: int) -> Latency:
    """The median of the rounds for each item: what else the machine does hits one, not most.

    Without the garbage collector, whose pauses are the process's and not the decision's.
    """
    for item in items:
        act(item)  # the first call of each compiles or caches
    gc.disable()
    try:
        taken = [[_once_ms(act, item) for item in items] for _ in range(rounds)]
    finally:
        gc.enable()
    middle = [median(each) for each in zip(*taken, strict=True)]
    longest = max(map(max, taken))
    p50, p99 = percentile(middle, 0.5), percentile(middle, 0.99)
    return Latency(name, len(items), rounds, p50, p99, longest)


def _once_ms(act: Callable[[Item], object], item: Item) -> float:
    began = perf_counter_ns()
    act(item)
    return (perf_counter_ns() - began) / 1e6
