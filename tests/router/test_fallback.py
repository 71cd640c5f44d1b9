"""Which model comes next, and the body made out to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequestError, ContextTooLongError, EngineError, UnavailableError
from common.routing_config import TRIGGERS, check_fallbacks
from engines.base import State
from router.fallback import next_lanes, with_model
from router.policies.least_loaded import LeastLoaded
from router.replicas import Lane, Replica


def lane(model: str, context: int | None = None, state: State = State.READY) -> Lane:
    replica = Replica(f"{model}-0", model, 4, state=state, max_model_len=context)
    return Lane(model, [replica], LeastLoaded(), max_queued=9, queue_timeout_s=1)


def names(lanes: Any) -> list[str]:
    return [each.model for each in lanes]


# Which


def test_the_others_in_their_order() -> None:
    others = [lane("b"), lane("a")]
    assert names(next_lanes(lane("m"), EngineError("no"), others, TRIGGERS)) == ["b", "a"]
    assert names(next_lanes(lane("m"), UnavailableError("no"), others, TRIGGERS)) == ["b", "a"]


def test_a_model_that_is_not_up_is_passed_over() -> None:
    others = [lane("b", state=State.LOADING), lane("a")]
    assert names(next_lanes(lane("m"), EngineError("no"), others, TRIGGERS)) == ["a"]


def test_a_final_failure_has_no_next() -> None:
    others = [lane("b")]
    assert not next_lanes(lane("m"), BadRequestError("no"), others, TRIGGERS)
    assert not next_lanes(lane("m"), EngineError("no"), others, ["timeout"])


def test_what_is_too_long_goes_to_a_longer_context() -> None:
    others = [lane("same", 4096), lane("longer", 8192), lane("unknown"), lane("shorter", 1024)]
    failure = ContextTooLongError("too long")
    assert names(next_lanes(lane("m", 4096), failure, others, TRIGGERS)) == ["longer", "unknown"]
    assert len(next_lanes(lane("m"), failure, others, TRIGGERS)) == 4


def test_a_models_context_is_what_all_its_replicas_hold() -> None:
    members = [Replica(f"m-{i}", "m", 1, max_model_len=n) for i, n in enumerate([4096, None, 2048])]
    here = Lane("m", members, LeastLoaded(), max_queued=1, queue_timeout_s=1)
    assert here.context_len == 2048


# The body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"model":"a","x":1}', '{"model":"b/c","x":1}'),
        ('{ "x" :1e400 ,\n"model" : "a" }', '{ "x" :1e400 ,\n"model" : "b/c" }'),
        ('{"messages":[{"model":"a"}],"model":"a"}', '{"messages":[{"model":"a"}],"model":"b/c"}'),
        ('{"tools":{"model":"a"}}', '{"model":"b/c","tools":{"model":"a"}}'),
        ('{"x":"\\"model\\":\\"a\\"","model":"a"}', '{"x":"\\"model\\":\\"a\\"","model":"b/c"}'),
        ('{"x\\"model":"a"}', '{"model":"b/c","x\\"model":"a"}'),
        ('{"mod\\u0065l":"a"}', '{"mod\\u0065l":"b/c"}'),
        ('{"model":"a","model":"z"}', '{"model":"b/c","model":"b/c"}'),
        ('{"model":null}', '{"model":"b/c"}'),
        ('{"model":"a\\\\"}', '{"model":"b/c"}'),
        ('{"x":1}', '{"model":"b/c","x":1}'),
        (' { } ', ' {"model":"b/c" } '),
    ],
)  # fmt: skip
def test_only_the_name_changes(body: str, expected: str) -> None:
    assert with_model(body.encode(), "b/c") == expected.encode()


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'"x"', b'{"model":3}', b'{"model":', b"--b\r\n\r\n{}", b"\xff{}"]
)
def test_what_is_no_such_body_cannot_be_made_out(body: bytes) -> None:
    assert with_model(body, "b") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8) | st.just("model"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.just("model"), inner, max_size=3)
    ),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(max_size=6).filter(lambda k: k != "model"), json_values)


@given(bodies, st.text(max_size=9) | st.none(), st.booleans(), st.integers(0, 3))
def test_all_else_is_as_it_was(
    body: dict[str, Any], model: str | None, plain: bool, at: int
) -> None:
    items = list(body.items())
    items.insert(min(at, len(items)), ("model", model))
    text = json.dumps(dict(items), ensure_ascii=plain).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    made_out = with_model(text, "other")
    assert made_out is not None
    assert json.loads(made_out) == {**dict(items), "model": "other"}
    assert list(json.loads(made_out)) == list(dict(items))


# The config


@pytest.mark.parametrize(
    ("fallbacks", "said"),
    [
        ({"x": ["a"]}, "router.fallbacks.x: no model 'x'; there are: a, b"),
        ({"a": ["x"]}, "router.fallbacks.a: no model 'x'; there are: a, b"),
        ({"a": ["b", "a"]}, "router.fallbacks.a: 'a' cannot stand in for itself"),
        ({"a": ["b", "b"]}, "router.fallbacks.a: names a model twice"),
    ],
)
def test_fallbacks_name_other_models_once(fallbacks: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        check_fallbacks(fallbacks, ["a", "b"])


def test_models_may_stand_in_for_each_other() -> None:
    check_fallbacks({"a": ["b"], "b": ["a"]}, ["a", "b"])
