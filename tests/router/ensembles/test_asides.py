from __future__ import annotations

import pytest

from common.errors import BadRequestError
from router.ensembles.asides import adding, aside, refuse_images, systems
from router.ensembles.ask import Request
from router.ensembles.read_json import objects

USER = {"role": "user", "content": "Hi"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}


def test_a_further_word_of_the_user_joins_the_last_one() -> None:
    assert adding((USER,), "More") == ({"role": "user", "content": "Hi\n\nMore"},)
    seen = {"role": "user", "content": [PICTURE]}
    assert adding((seen,), "More")[0]["content"] == [PICTURE, {"type": "text", "text": "More"}]
    answer = {"role": "assistant", "content": "Ho"}
    assert adding((USER, answer), "More")[-1] == {"role": "user", "content": "More"}
    assert adding((), "More") == ({"role": "user", "content": "More"},)


def test_an_aside_has_its_own_terms() -> None:
    fields = {"tools": [1], "stop": ["x"], "response_format": {}, "temperature": 1, "user": "u"}
    own = Request((USER,), fields, samples=3, max_tokens=5, logprobs=True)
    other = aside(own, (USER,), 70, temperature=0)
    assert other.fields == {"temperature": 0, "user": "u"}
    assert (other.samples, other.max_tokens, other.logprobs) == (1, 70, False)
    assert aside(own, (USER,), None).max_tokens is None


def test_what_holds_for_every_answer() -> None:
    developer = {"role": "developer", "content": "Be kind."}
    assert systems((developer, USER)) == (developer,)


def test_images_are_refused_and_parts_of_text_are_not() -> None:
    refuse_images(Request(({"role": "user", "content": [{"type": "text", "text": "Hi"}]},)), "x")
    with pytest.raises(BadRequestError, match="'x' takes text only"):
        refuse_images(Request(({"role": "user", "content": [PICTURE]},)), "x")


def test_json_objects_within_a_text() -> None:
    text = 'So {this}: {"a": {"b": 1}} and ```{"c": 2}``` <not> {"d": '
    assert list(objects(text)) == [{"a": {"b": 1}}, {"c": 2}]
    assert list(objects('<think>{"a": 1}</think>none')) == []
    assert list(objects("{" * 10_000)) == []
