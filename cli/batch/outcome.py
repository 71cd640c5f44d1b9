"""What became of one request, as a line of OpenAI's batch output and as figures."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from cli.batch.request import Request


@dataclass(frozen=True)
class Outcome:
    """`status` and `body` are the server's; without them `error` tells why there is no answer."""

    request: Request
    latency_s: float  # of the last attempt
    status: int | None = None
    request_id: str = ""
    body: Any = None
    error: dict[str, str] | None = None

    @property
    def is_answer(self) -> bool:
        return self.status is not None and self.status < 300 and self.error is None

    @property
    def model(self) -> str:
        """Who answered, where that is known."""
        told = self.body.get("model") if self.is_answer and isinstance(self.body, dict) else None
        return told if isinstance(told, str) and told else self.request.model

    @property
    def usage(self) -> Usage:
        return usage_of(self.body) if self.is_answer else Usage()

    def line(self) -> bytes:
        response = {
            "status_code": self.status,
            "request_id": self.request_id,
            "body": self.body,
        }
        value = {
            "id": f"batch_req_{uuid.uuid4().hex}",
            "custom_id": self.request.custom_id,
            "response": None if self.status is None else response,
            "error": self.error,
        }
        return encoded(value) + b"\n"


@dataclass(frozen=True)
class Usage:
    """None is what the answer does not tell."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None


def usage_of(body: Any) -> Usage:
    """Of a chat, a completion, embeddings or a response."""
    told = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        return Usage()
    return Usage(
        _count(told, "prompt_tokens", "input_tokens"),
        _count(told, "completion_tokens", "output_tokens"),
        _number(told.get("cost")),  # as OpenRouter tells it
    )


def encoded(value: Any) -> bytes:
    """Korean stays readable. Half a surrogate pair, which UTF-8 cannot hold, is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _count(told: dict[str, Any], *names: str) -> int | None:
    found = (told[name] for name in names if isinstance(told.get(name), int))
    return next(found, None)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
