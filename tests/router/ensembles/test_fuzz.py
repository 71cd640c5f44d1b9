"""Random ensembles over flaky members, on a clock that jumps: none hangs, leaks or overspends."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from common.ensemble_section import BudgetConfig, EnsembleSection
from common.ensembles_chain import ChainConfig
from common.ensembles_config import CascadeConfig, CompareConfig, VoteConfig
from common.ensembles_judged import BestOfConfig, CheckConfig, FuseConfig
from common.ensembles_steps import DecomposeConfig, VerifyConfig
from common.errors import EngineError, UnavailableError
from router.ensembles.ask import Member, Token
from tests.router.ensembles.flaky import QUESTION, Ended, Script, played

RUNS = 2000
BLOCKS = 20
NAMES = ("a", "b", "c", "d")
KINDS = (
    *(VoteConfig, CascadeConfig, CompareConfig, FuseConfig, BestOfConfig),
    *(VerifyConfig, DecomposeConfig, ChainConfig),
)
# Those that look at the text alone; the others need a process, and so a clock that runs.
CHECKS = (
    None,
    CheckConfig(language="ko"),
    CheckConfig(unit="십", max_chars=20),
    CheckConfig(min_chars=9000),
)
EXTRACTS = ("auto", "number", "text", "json:answer")
TEXTS = (
    "18",
    "20",
    "The answer is 18.",
    "정답은 2십입니다",
    "",
    "no",
    '{"answer": 18}',
    "18 or 20",
    "correct: PASS\ncomplete: PASS",
    '{"questions": ["one?", "two?", "three?"]}',
)
# Who plans and checks must be understood now and then, or nothing comes after.
TEXTS_OF = {
    "verify": (
        *("correct: PASS\ncomplete: FAIL", "correct: FAIL - no\ncomplete: PASS", "?"),
        '{"correct": {"reason": "", "pass": true}, "complete": {"reason": "no", "pass": false}}',
    ),
    "decompose": ("1. one?\n2. two?", '{"questions": ["one?", "two?", "three?"]}', "NONE"),
    "chain": ("a {question} b", "{steps.x}"),
}
STEPS = (
    {"name": "x", "template": "{question}"},
    {"name": "y", "model": "a", "template": "{question} {steps.x}"},
    {"name": "z", "model": "b", "template": "{steps.x} {steps.y}", "max_tokens": 20},
)


def a_script(random: Random, kind: str) -> Script:
    errors: tuple[BaseException | None, ...]
    errors = (None, None, None, EngineError("broken"), UnavailableError("gone"), TimeoutError())
    if kind in TEXTS_OF:  # of many phases the first must not always be the last
        errors = (*[None] * 9, *errors)
    return Script(
        texts=[random.choice(TEXTS_OF.get(kind, TEXTS)) for _ in range(random.randint(1, 4))],
        delay_s=random.choice((0.0, 0.5, 1.0, random.uniform(0, 40))),
        tokens=random.choice((0, 1, 10, 80)),
        error=random.choice(errors),
        hangs=random.random() < 0.15,
        keeps_limit=random.random() < 0.9,
        one_by_one=random.random() < 0.5,
        cut=random.random() < 0.1,
        logprobs=random.choice(((), (Token(-0.1, -3.0),))),
        says=random.random() < 0.3,
    )


def a_spec(random: Random) -> EnsembleSection:
    """Until one is right; what is wrong has been refused long before a run."""
    while True:
        try:
            spec = any_spec(random)
        except ValidationError:
            continue
        if spec.complaint() is None and spec.requests <= 16:
            return spec


def any_spec(random: Random) -> EnsembleSection:
    keys: dict[str, Any] = {
        "members": random.sample(NAMES, random.randint(1, len(NAMES))),
        "quorum": random.choice((1, 1, 2, 3)),
        "first": random.choice((None, None, 1, 2)),
        "soft_deadline": random.choice((None, 0.5, 5, 50)),
        "deadline": random.choice((0.3, 3, 30, 60)),
        "on_error": random.choice(("skip", "skip", "fail")),
        "budget": BudgetConfig(
            requests=random.choice((None, None, 1, 3)),
            tokens=random.choice((None, 30, 200, 2000)),
        ),
    }
    kind = random.choice(KINDS)
    if kind is ChainConfig:
        keys |= {"members": keys["members"][:1], "quorum": 1, "first": None}
        return ChainConfig(**keys, steps=STEPS[: random.randint(1, 3)])
    if kind is VerifyConfig:
        keys |= {"members": keys["members"][:2], "quorum": 1, "first": None}
        return VerifyConfig(**keys, rounds=random.randint(1, 3))
    if kind is DecomposeConfig:
        return DecomposeConfig(**keys, max_questions=random.randint(1, 4))
    if kind is CompareConfig:
        return CompareConfig(**keys)
    if kind in (FuseConfig, BestOfConfig):
        return judged(random, kind, keys)
    keys |= {"samples": random.choice((None, 1, 3, 5)), "extract": random.choice(EXTRACTS)}
    if kind is VoteConfig:
        return VoteConfig(**keys, adaptive=random.random() < 0.3)
    confidence = random.choice((None, "margin", "self_check"))
    return CascadeConfig(
        **keys, confidence=confidence, threshold=1.0 if confidence == "margin" else None
    )


def judged(random: Random, kind: Any, keys: dict[str, Any]) -> EnsembleSection:
    judge = random.choice((None, *NAMES))
    keys |= {"samples": random.choice((None, 1, 2, 3)), "judge": judge, "seed": 1}
    if kind is FuseConfig:
        return FuseConfig(**keys, writer=random.choice((None, *NAMES)))
    none_passes: Any = random.choice(("return", "fail"))
    return BestOfConfig(**keys, check=random.choice(CHECKS), none_passes=none_passes)


def a_run(random: Random) -> tuple[EnsembleSection, dict[str, Script], Ended, float | None]:
    spec = a_spec(random)
    scripts = {name: a_script(random, spec.kind) for name in NAMES}
    roster = {
        name: Member(
            name,
            record=random.choice((None, 0.3, 0.9)),
            turn=random.choice((None, None, "gpu0")),
            context_tokens=random.choice((None, None, 400, 8192)),
        )
        for name in NAMES
    }
    hang_up = random.uniform(0, 20) if random.random() < 0.1 else None
    run = played(spec, scripts, QUESTION, roster=roster, hang_up_after_s=hang_up)
    return spec, scripts, run, hang_up


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_hang_no_leak_no_overspending(block: int) -> None:
    """`played` itself sees that no task, no call and no grant is left."""
    answered = 0
    for seed in range(block, RUNS, BLOCKS):
        spec, scripts, run, hang_up = a_run(Random(seed))
        assert run.took_s <= spec.deadline_s + 1e-6, seed
        if hang_up is None:
            assert (run.outcome is None) == (run.error is not None), seed
        asked = sum(request.samples for _, request in run.house.asked)
        assert asked == run.trace.requests <= spec.requests, seed
        assert asked <= (spec.budget.requests or asked), seed
        if spec.budget.tokens is not None:
            # A member that does not keep to max_tokens is known by the token that is too much.
            greedy = sum(not scripts[model].keeps_limit for model, _ in run.house.asked)
            assert run.spent <= spec.budget.tokens + greedy, seed
        assert run.spent == run.trace.prompt_tokens + run.trace.output_tokens, seed
        assert run.trace.output_tokens == run.house.generated, seed
        answered += run.outcome is not None
    assert answered > RUNS / BLOCKS / 10  # else it would prove little


def test_a_run_can_be_repeated() -> None:
    for seed in range(20):
        one, other = (a_run(Random(seed))[2] for _ in range(2))
        assert one.trace == other.trace
