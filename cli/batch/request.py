"""One request of a batch, read from a line: OpenAI's batch format, or a plain list of prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

CHAT = "/v1/chat/completions"
URLS = (CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses")
Form = Literal["openai", "list", "text"]
_KEYS = ("custom_id", "method", "url", "body")
_LIST_KEYS = ("id", "text", "prompt")


@dataclass(frozen=True)
class Plain:
    """What the prompts of a plain list are asked with."""

    model: str = "auto"
    max_tokens: int | None = None

    def body(self, prompt: str) -> dict[str, Any]:
        message = {"role": "user", "content": prompt}
        limit = {} if self.max_tokens is None else {"max_tokens": self.max_tokens}
        return {"model": self.model, "messages": [message], **limit}


@dataclass(frozen=True)
class Request:
    line: int
    custom_id: str
    url: str
    body: dict[str, Any]

    @property
    def model(self) -> str:
        """As it was asked for."""
        return str(self.body.get("model") or "-")


def form_of(ending: str, first_line: str) -> Form:
    """The file's ending decides between text and JSON, and its first line where that does not."""
    is_json = ending in (".jsonl", ".ndjson", ".json")
    if ending == ".txt" or not (is_json or first_line.startswith("{")):
        return "text"
    try:
        first = json.loads(first_line)
    except ValueError:
        return "openai"
    is_plain = isinstance(first, dict) and {"text", "prompt"} & first.keys()
    return "list" if is_plain and not set(_KEYS) & first.keys() else "openai"


def parse(text: str, line: int, form: Form, plain: Plain) -> Request:
    """Raises ValueError with what is wrong."""
    if form == "text":
        return Request(line, f"line-{line}", CHAT, plain.body(text))
    value = _object(text)
    if form == "list":
        return _of_list(value, line, plain)
    return _of_openai(value, line)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _of_list(value: Mapping[str, Any], line: int, plain: Plain) -> Request:
    _refuse_others(value, _LIST_KEYS)
    prompts = [value[key] for key in ("text", "prompt") if key in value]
    if len(prompts) != 1 or not isinstance(prompts[0], str) or not prompts[0].strip():
        raise ValueError('"text" or "prompt" must be there, as words')
    custom_id = value.get("id", f"line-{line}")
    if isinstance(custom_id, int) and not isinstance(custom_id, bool):
        custom_id = str(custom_id)
    return Request(line, _filled(custom_id, "id"), CHAT, plain.body(prompts[0]))


def _of_openai(value: Mapping[str, Any], line: int) -> Request:
    custom_id = _filled(value.get("custom_id"), "custom_id")
    _refuse_others(value, _KEYS)
    if value.get("method") != "POST":
        raise ValueError(f'method {value.get("method")!r}: must be "POST"')
    if value.get("url") not in URLS:
        raise ValueError(f"url {value.get('url')!r}: must be one of {', '.join(URLS)}")
    body = value.get("body")
    if not isinstance(body, dict):
        raise ValueError("body: must be a JSON object")
    if body.get("stream"):
        raise ValueError("body.stream: a batch takes whole answers; leave it out")
    return Request(line, custom_id, value["url"], body)


def _filled(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} {value!r}: must be a string that is not empty")
    return value


def _refuse_others(value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if others := sorted(set(value) - set(known)):
        raise ValueError(f"unknown key {others[0]!r}; a line has {', '.join(known)}")
