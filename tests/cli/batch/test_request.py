"""What a line of a batch may be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.batch.request import URLS, Plain, form_of, parse
from tests.cli.batch.batches import line

PLAIN = Plain("m", 7)


def openai(**changes: Any) -> str:
    return json.dumps({k: v for k, v in (line("a") | changes).items() if v is not None})


@pytest.mark.parametrize(
    ("ending", "first", "form"),
    [
        (".jsonl", '{"custom_id": "a"}', "openai"),
        (".jsonl", '{"id": 1, "text": "x"}', "list"),
        (".jsonl", '{"prompt": "x"}', "list"),
        (".jsonl", '{"prompt": "x", "custom_id": "a"}', "openai"),
        (".jsonl", "What is this?", "openai"),
        (".jsonl", "[1]", "openai"),
        ("", '{"text": "x"}', "list"),
        ("", "What is this?", "text"),
        (".txt", '{"text": "x"}', "text"),
    ],
)
def test_the_form(ending: str, first: str, form: str) -> None:
    assert form_of(ending, first) == form


@pytest.mark.parametrize("url", URLS)
def test_openais_format(url: str) -> None:
    request = parse(openai(url=url), 3, "openai", PLAIN)
    assert (request.line, request.custom_id, request.url) == (3, "a", url)
    assert request.body == line("a")["body"]
    assert request.model == "m"


def test_plain_prompts() -> None:
    message = {"role": "user", "content": "안녕?"}
    body = {"model": "m", "messages": [message], "max_tokens": 7}
    for text, form, custom_id in [
        ("안녕?", "text", "line-4"),
        ('{"id": "q", "text": "안녕?"}', "list", "q"),
        ('{"id": 12, "text": "안녕?"}', "list", "12"),
        ('{"prompt": "안녕?"}', "list", "line-4"),
    ]:
        request = parse(text, 4, form, PLAIN)  # type: ignore[arg-type]
        assert (request.custom_id, request.body) == (custom_id, body)
    assert "max_tokens" not in parse("x", 1, "text", Plain()).body
    assert parse("x", 1, "text", Plain()).model == "auto"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 200_000, "nested too deep"),
        (openai(custom_id=None), "custom_id None: must be a string"),
        (openai(custom_id=""), "custom_id '': must be"),
        (openai(custom_id=3), "custom_id 3: must be a string"),
        (openai(method="GET"), "method 'GET': must be \"POST\""),
        (openai(url="/v1/images"), "url '/v1/images': must be one of /v1/chat/completions, "),
        (openai(url=["x"]), "must be one of"),
        (openai(body=None), "body: must be a JSON object"),
        (openai(body={"stream": True}), "body.stream"),
        (openai(bdy={}), "unknown key 'bdy'; a line has custom_id, method, url, body"),
    ],
)
def test_wrong_lines(text: str, why: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        parse(text, 1, "openai", PLAIN)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"text": "a", "prompt": "b"}', '"text" or "prompt" must be there'),
        ('{"id": "a"}', '"text" or "prompt" must be there'),
        ('{"text": " "}', '"text" or "prompt" must be there'),
        ('{"text": 3}', '"text" or "prompt" must be there'),
        ('{"text": "a", "id": null}', "id None: must be a string"),
        ('{"text": "a", "id": true}', "id True: must be a string"),
        ('{"text": "a", "model": "m"}', "unknown key 'model'"),
    ],
)
def test_wrong_lines_of_a_list(text: str, why: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        parse(text, 1, "list", PLAIN)
    assert why in str(refused.value)
