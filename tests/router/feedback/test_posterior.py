"""Beta posteriors: within bounds, moved by ratings, and back to the prior when these fade."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog.score import UNKNOWN, Score
from router.feedback.posterior import Key, Settings, Tally, posteriors

TASKS, MODELS = ("code", "math"), ("a", "b", "c")
KEYS = [(task, model) for task in TASKS for model in MODELS]
ROUTER = Settings()


def published(value: float) -> Score:
    return Score(value, "published", "test")


def priors(**of: float) -> dict[Key, Score]:
    return {(task, model): published(of.get(model, 0.5)) for task, model in KEYS}


scores = st.builds(
    Score,
    st.floats(0, 1),
    st.sampled_from(["published", "config", "prior", "unknown"]),
    st.just(""),
)
tallies = st.tuples(st.floats(0, 1), st.floats(0, 5000)).map(lambda t: Tally(t[0] * t[1], t[1]))
settings = st.builds(Settings, st.floats(0.1, 200), st.floats(0.1, 100), st.booleans())


@given(
    st.fixed_dictionaries(dict.fromkeys(KEYS, scores)),
    st.dictionaries(st.sampled_from(KEYS), tallies),
    settings,
)
def test_means_stay_within_bounds_and_no_model_is_certain(
    given_priors: dict[Key, Score], seen: dict[Key, Tally], with_settings: Settings
) -> None:
    found = posteriors(given_priors, seen, with_settings)
    assert set(found) == set(given_priors)
    for posterior in found.values():
        assert posterior.alpha > 0
        assert posterior.beta > 0
        assert 0 < posterior.mean < 1


@given(st.fixed_dictionaries(dict.fromkeys(KEYS, scores)), settings)
def test_without_ratings_the_priors_stand(
    given_priors: dict[Key, Score], with_settings: Settings
) -> None:
    found = posteriors(given_priors, {}, with_settings)
    for key, posterior in found.items():
        expected = min(0.99, max(0.01, given_priors[key].value))
        assert posterior.mean == pytest.approx(expected)


@given(
    st.dictionaries(st.sampled_from(KEYS), tallies),
    st.sampled_from(KEYS),
    st.floats(0.1, 50),
)
def test_an_up_never_lowers_a_model_in_its_task(
    seen: dict[Key, Tally], key: Key, ups: float
) -> None:
    before = posteriors(priors(), seen, ROUTER)[key].mean
    tally = seen.get(key, Tally(0, 0))
    more = seen | {key: Tally(tally.reward + ups, tally.weight + ups)}
    assert posteriors(priors(), more, ROUTER)[key].mean >= before - 1e-9


def test_many_ratings_outweigh_the_prior() -> None:
    found = posteriors(priors(a=0.9), {("code", "a"): Tally(600, 3000)}, ROUTER)
    assert found["code", "a"].mean == pytest.approx(0.2, abs=0.01)


def test_a_published_prior_weighs_more_than_a_guess_and_that_more_than_nothing() -> None:
    seen = {("code", "a"): Tally(0, 10)}
    means = [
        posteriors({("code", "a"): prior}, seen, Settings(levelled=False))["code", "a"].mean
        for prior in (published(0.5), Score(0.5, "prior", ""), UNKNOWN)
    ]
    assert means == sorted(means, reverse=True)
    assert len(set(means)) == 3


def test_what_a_model_does_in_one_task_tells_of_the_others() -> None:
    found = posteriors(priors(), {("code", "a"): Tally(95, 100)}, Settings(levelled=False))
    assert found["math", "a"].mean > found["math", "b"].mean


def test_harsh_users_move_all_models_alike() -> None:
    """Else a model that nobody has rated yet would look better than all that were rated."""
    seen = {("code", "a"): Tally(180, 300), ("code", "b"): Tally(165, 300)}
    found = posteriors(priors(a=0.8, b=0.75, c=0.7), seen, ROUTER)
    order = sorted(MODELS, key=lambda model: -found["code", model].mean)
    assert order[0] == "a"
    flat = posteriors(priors(a=0.8, b=0.75, c=0.7), seen, Settings(levelled=False))
    assert max(MODELS, key=lambda model: flat["code", model].mean) == "c"


def test_tallies_of_models_that_are_gone_bear_on_nothing() -> None:
    gone = {("code", "gone"): Tally(0, 1000)}
    with_gone, without = posteriors(priors(), gone, ROUTER), posteriors(priors(), {}, ROUTER)
    assert {k: p.mean for k, p in with_gone.items()} == {k: p.mean for k, p in without.items()}


def test_a_score_says_that_it_comes_from_feedback_only_where_it_does() -> None:
    found = posteriors(priors(), {("code", "a"): Tally(9, 10)}, Settings(levelled=False))
    assert found["code", "a"].score.basis == "feedback"
    assert "10 ratings" in found["code", "a"].score.source
    assert found["code", "b"].score == published(0.5)
