"""The choice among models: what may never be, what must always be, and how fast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.quality_config import TASKS, Modality, Strategy
from router.catalog.score import Score
from router.choice import NEAR, WEIGHTS, Candidate, Needs, choose, expected_s

STRATEGIES: tuple[Strategy, ...] = ("quality", "balanced", "speed", "cost")


@dataclass(frozen=True)
class Said:
    task: str = "code"
    confidence: float = 1.0
    language: str = "en"


def scores(**by_task: float) -> dict[str, Score]:
    return {task: Score(value, "config", "test") for task, value in by_task.items()}


def model(name: str, code: float = 0.5, general: float = 0.5, **more: object) -> Candidate:
    return replace(Candidate(name, scores(code=code, general=general), capacity=8), **more)  # type: ignore[arg-type]


names = st.sampled_from(["a", "b", "c", "d", "e", "f"])
share = st.floats(0, 1)
sizes = st.none() | st.integers(100, 5000)
takes = st.none() | st.sets(st.sampled_from(["image", "audio"])).map(
    lambda more: frozenset({"text", *more})
)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    return [
        Candidate(
            name,
            scores(**{task: draw(share) for task in draw(st.sets(st.sampled_from(TASKS)))}),
            loaded=draw(st.booleans()),
            healthy=draw(st.booleans()),
            in_flight=draw(st.integers(0, 20)),
            capacity=draw(st.integers(1, 16)),
            queued=draw(st.integers(0, 20)),
            ttft_s=draw(st.none() | st.floats(0, 5)),
            tokens_per_s=draw(st.none() | st.floats(1, 200)),
            max_model_len=draw(sizes),
            modalities=draw(takes),
            tools=draw(st.none() | st.booleans()),
            cost_per_million_tokens=draw(st.none() | st.floats(0, 50)),
            languages={"ko": Score(draw(share), "prior", "test")},
        )
        for name in draw(st.sets(names))
    ]


verdicts = st.builds(Said, st.sampled_from(TASKS), share, st.sampled_from(["en", "ko"]))
modalities: st.SearchStrategy[frozenset[Modality]] = st.sampled_from(
    [frozenset({"text"}), frozenset({"text", "image"})]
)
needs = st.builds(
    Needs,
    st.integers(0, 3000),
    st.none() | st.integers(1, 2000),
    modalities,
    st.booleans(),
    st.none() | st.frozensets(names),
)


@given(verdicts, needs, candidates(), st.sampled_from(STRATEGIES), st.none() | names)
def test_a_choice_never_violates_a_hard_constraint(
    verdict: Said, needs: Needs, models: list[Candidate], strategy: Strategy, stay: str | None
) -> None:
    choice = choose(verdict, needs, models, strategy, stay=stay, cached=stay)
    by_name = {each.name: each for each in models}
    for name in {choice.model, *(each.model for each in choice.ranked)} - {None}:
        chosen = by_name[name]  # type: ignore[index]
        assert chosen.healthy
        assert needs.allowed is None or name in needs.allowed
        wanted = needs.prompt_tokens + (needs.output_tokens or 0)
        assert chosen.max_model_len is None or wanted <= chosen.max_model_len
        assert chosen.modalities is None or needs.modalities <= chosen.modalities
        assert not (needs.tools and chosen.tools is False)


@given(verdicts, needs, candidates(), st.sampled_from(STRATEGIES))
def test_every_model_is_ranked_or_refused_with_a_reason(
    verdict: Said, needs: Needs, models: list[Candidate], strategy: Strategy
) -> None:
    choice = choose(verdict, needs, models, strategy)
    ranked = [each.model for each in choice.ranked]
    refused = [name for name, why in choice.refused if why]
    assert sorted(ranked + refused) == sorted(each.name for each in models)
    assert (choice.model is None) == (not ranked)
    assert choice.model is None or choice.model in ranked
    assert [each.score for each in choice.ranked] == sorted(
        (each.score for each in choice.ranked), reverse=True
    )


@given(verdicts, needs, candidates(), st.sampled_from(STRATEGIES), st.randoms())
def test_the_order_of_the_candidates_does_not_matter(
    verdict: Said, needs: Needs, models: list[Candidate], strategy: Strategy, random: object
) -> None:
    shuffled = list(models)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (choose(verdict, needs, each, strategy) for each in (models, shuffled))
    assert (one.model, one.ranked, set(one.refused)) == (
        other.model,
        other.ranked,
        set(other.refused),
    )


@given(verdicts, needs, candidates(), st.sampled_from(STRATEGIES), share)
def test_a_better_score_with_all_else_equal_never_loses(
    verdict: Said, needs: Needs, models: list[Candidate], strategy: Strategy, better: float
) -> None:
    before = choose(verdict, needs, models, strategy)
    if before.model is None:
        return
    raised = [
        replace(each, quality={task: _raised(each, task, better) for task in TASKS})
        if each.name == before.model
        else each
        for each in models
    ]
    assert choose(verdict, needs, raised, strategy).model == before.model


def _raised(candidate: Candidate, task: str, to: float) -> Score:
    now = candidate.quality[task].value if task in candidate.quality else 0.5
    return Score(max(now, to), "config", "raised")


@given(candidates(), st.integers(0, 1000))
def test_more_in_line_never_means_less_wait(models: list[Candidate], tokens: int) -> None:
    for each in models:
        longer = replace(each, queued=each.queued + 1)
        assert expected_s(longer, tokens) >= expected_s(each, tokens)


def test_the_model_that_is_better_at_the_task_answers() -> None:
    pool = [model("coder", code=0.85, general=0.6), model("chat", code=0.6, general=0.8)]
    assert choose(Said("code"), Needs(), pool).model == "coder"
    assert choose(Said("general"), Needs(), pool).model == "chat"


def test_an_unsure_verdict_counts_as_general_as_far_as_it_is_unsure() -> None:
    pool = [model("coder", code=0.85, general=0.5), model("chat", code=0.6, general=0.8)]
    assert choose(Said("code", 0.9), Needs(), pool).model == "coder"
    assert choose(Said("code", 0.2), Needs(), pool).model == "chat"


def test_in_korean_a_model_that_has_it_answers() -> None:
    korean = {"ko": Score(0.8, "published", "test")}
    other = {"ko": Score(0.5, "published", "test")}
    pool = [
        model("exaone", code=0.70, languages=korean),
        model("llama", code=0.75, languages=other),
    ]
    assert choose(Said(), Needs(), pool).model == "llama"
    assert choose(Said(language="ko"), Needs(), pool).model == "exaone"


def test_a_loaded_idle_model_beats_a_slightly_better_one_that_must_load() -> None:
    pool = [model("here", code=0.7), model("away", code=0.8, loaded=False, load_s=60.0)]
    assert choose(Said(), Needs(), pool).model == "here"
    assert choose(Said(), Needs(), pool, "quality").model == "away"
    assert choose(Said(), Needs(), pool, "speed").model == "here"


def test_in_a_near_tie_the_idle_one_answers() -> None:
    busy = model("a", code=0.700 + NEAR / 2, in_flight=7)
    idle = model("b", code=0.700)
    choice = choose(Said(), Needs(), [busy, idle])
    assert (choice.model, choice.ranked[0].model) == ("b", "a")
    assert "near tie" in choice.reason


def test_a_long_queue_sends_requests_elsewhere() -> None:
    full = model("best", code=0.80, in_flight=8, queued=40)
    assert choose(Said(), Needs(), [full, model("next", code=0.72)]).model == "next"


def test_cost_counts_by_strategy() -> None:
    dear = model("dear", code=0.8, cost_per_million_tokens=15.0)
    cheap = model("cheap", code=0.7, cost_per_million_tokens=0.1)
    asked = Needs(prompt_tokens=4000, output_tokens=1000)
    assert choose(Said(), asked, [dear, cheap], "quality").model == "dear"
    assert choose(Said(), asked, [dear, cheap], "cost").model == "cheap"


def test_a_conversation_stays_unless_it_cannot() -> None:
    pool = [model("coder", code=0.5), model("better", code=0.9)]
    staying = choose(Said(), Needs(), pool, stay="coder")
    assert (staying.model, staying.stays, staying.open_to) == ("coder", True, ())
    assert (
        choose(Said(), Needs(), [replace(pool[0], healthy=False), pool[1]], stay="coder").model
        == "better"
    )
    assert (
        choose(Said(), Needs(), [replace(pool[0], loaded=False), pool[1]], stay="coder").model
        == "better"
    )
    assert (
        choose(Said(), Needs(allowed=frozenset({"better"})), pool, stay="coder").model == "better"
    )


def test_a_cached_prefix_is_worth_a_little() -> None:
    pool = [model("here", code=0.70), model("there", code=0.73)]
    assert choose(Said(), Needs(), pool).model == "there"
    assert choose(Said(), Needs(), pool, cached="here").model == "here"


def test_an_image_goes_to_a_model_of_unknown_kind_only_when_no_other_can() -> None:
    image = Needs(modalities=frozenset({"text", "image"}))
    unknown, seeing = (
        model("unknown", code=0.9),
        model("seeing", modalities=frozenset({"text", "image"})),
    )
    blind = model("blind", modalities=frozenset({"text"}))
    choice = choose(Said(), image, [unknown, seeing, blind])
    assert choice.model == "seeing"
    assert dict(choice.refused) == {"unknown": "may take no image", "blind": "takes no image"}
    assert choose(Said(), image, [unknown, blind]).model == "unknown"


def test_when_nobody_can_the_reasons_are_told() -> None:
    pool = [model("small", max_model_len=1000), model("other")]
    choice = choose(Said(), Needs(900, 200, allowed=frozenset({"small"})), pool)
    assert choice.model is None
    assert choice.reason == (
        "no model can: small: about 1100 tokens do not fit its 1000; other: the key may not use it"
    )
    assert choose(Said(), Needs(), []).reason == "there is no model"


def test_trying_another_model_needs_one_that_is_open() -> None:
    choice = choose(Said(), Needs(), [model("a", code=0.9), model("b"), model("c", loaded=False)])
    assert choice.trying("b").model == "b"
    assert "trying" in choice.trying("b").reason
    assert choice.trying("c") is choice
    assert choice.trying("a") is choice


def test_the_parts_add_up() -> None:
    weights = WEIGHTS["balanced"]
    choice = choose(Said(), Needs(100, 50), [model("a", cost_per_million_tokens=20.0)], cached="a")
    (only,) = choice.ranked
    assert only.score == pytest.approx(
        weights.quality * only.quality - only.wait - only.cost + only.stay
    )
    assert only.cost == pytest.approx(150 * 20e-6)
    assert choice.reason.isascii()


def test_six_models_are_ranked_within_a_tenth_of_a_millisecond() -> None:
    pool = [model(name, code=0.5 + n / 20, in_flight=n) for n, name in enumerate("abcdef")]
    asked, said = Needs(1000, 200), Said(language="ko")
    taken = []
    for _ in range(2000):
        start = perf_counter()
        choose(said, asked, pool)
        taken.append(perf_counter() - start)
    assert median(taken) < 100e-6
