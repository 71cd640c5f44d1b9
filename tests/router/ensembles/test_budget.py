from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.ensembles.ask import Request
from router.ensembles.budget import Budget, Grant

ASKED = Request((), prompt_tokens=10, max_tokens=50)


def test_without_a_limit_of_tokens_a_request_goes_as_it_is() -> None:
    grant = Budget(requests=2).grant(replace(ASKED, max_tokens=None))
    assert grant is not None
    assert grant.request.max_tokens is None
    assert grant.output_tokens is None


def test_samples_count_as_requests() -> None:
    budget = Budget(requests=5)
    assert budget.grant(replace(ASKED, samples=3)) is not None
    assert budget.grant(replace(ASKED, samples=3)) is None
    assert budget.grant(replace(ASKED, samples=2)) is not None
    assert budget.grant(ASKED) is None


def test_every_answer_gets_the_same_share() -> None:
    budget = Budget(requests=3, tokens=120)
    grants = [budget.grant(ASKED) for _ in range(3)]
    assert [g.request.max_tokens for g in grants if g] == [30, 30, 30]


def test_what_was_not_used_comes_back() -> None:
    budget = Budget(requests=2, tokens=100)
    first = budget.grant(ASKED)
    assert first is not None
    assert first.request.max_tokens == 40
    budget.settle(first, 15)
    second = budget.grant(ASKED)
    assert second is not None
    assert second.request.max_tokens == 50


def test_the_prompt_of_samples_is_paid_once() -> None:
    grant = Budget(requests=4, tokens=210).grant(replace(ASKED, samples=4, max_tokens=None))
    assert grant is not None
    assert grant.request.max_tokens == 50
    assert grant.tokens == 210


def test_too_few_tokens_for_an_answer_are_refused_but_a_short_answer_is_not() -> None:
    assert Budget(requests=1, tokens=20).grant(ASKED) is None
    assert Budget(requests=1, tokens=20).grant(replace(ASKED, max_tokens=5)) is not None
    assert Budget(requests=1, tokens=10).grant(ASKED) is None


asked = st.builds(
    lambda prompt, samples, most: Request(
        (), samples=samples, max_tokens=most, prompt_tokens=prompt
    ),
    st.integers(0, 60),
    st.integers(1, 4),
    st.none() | st.integers(1, 200),
)


@given(st.integers(1, 8), st.integers(1, 2000), st.lists(st.tuples(asked, st.floats(0, 1))))
def test_it_is_never_exceeded(
    requests: int, tokens: int, wanted: list[tuple[Request, float]]
) -> None:
    budget, open_grants = Budget(requests, tokens), list[Grant]()
    for i, (request, used) in enumerate(wanted):
        grant = budget.grant(request)
        if grant is not None:
            assert grant.tokens is not None
            assert grant.request.max_tokens is not None
            assert grant.request.max_tokens <= (request.max_tokens or tokens)
            open_grants.append(grant)
        if open_grants and i % 2:
            settled = open_grants.pop(0)
            budget.settle(settled, int(used * (settled.tokens or 0)))
        assert budget.spent + budget.held <= tokens
        assert budget.asked <= requests
