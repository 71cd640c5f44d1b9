"""Calls whose answers the client does not see: plans, checks, sub-questions, steps on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from common.errors import BadRequestError
from router.ensembles.ask import Member, Request
from router.ensembles.extraction import without_thoughts
from router.ensembles.panel import Voice
from router.ensembles.run import Run

Messages = Sequence[Mapping[str, Any]]

# They shape the answer that the client gets, and would spoil any other.
_OF_THE_ANSWER = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "structured_outputs",
    "stop",
    "min_tokens",
    "ignore_eos",
    "top_logprobs",
    "logit_bias",
    "modalities",
    "audio",
    "prediction",
)


def aside(request: Request, messages: Messages, max_tokens: int | None, **fields: Any) -> Request:
    """Another question, with a limit of its own: the client's is of the answer that it gets."""
    other = request.saying(messages, **{**dict.fromkeys(_OF_THE_ANSWER), **fields})
    return replace(other, max_tokens=max_tokens, logprobs=False)


def adding(messages: Messages, text: str) -> tuple[Mapping[str, Any], ...]:
    """With a further word of the user. Many templates refuse two messages of one role in a row, so
    it joins the last one where that is the user's."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") != "user" or not isinstance(content, str | list):
        return (*messages, {"role": "user", "content": text})
    if isinstance(content, str):
        return (*messages[:-1], {**last, "content": f"{content}\n\n{text}"})
    return (*messages[:-1], {**last, "content": [*content, {"type": "text", "text": text}]})


def systems(messages: Messages) -> tuple[Mapping[str, Any], ...]:
    """What holds for every answer."""
    return tuple(m for m in messages if m.get("role") in ("system", "developer"))


def refuse_images(request: Request, kind: str) -> None:
    """Of a kind that asks others in words of its own."""
    contents = (message.get("content") for message in request.messages)
    parts = (part for each in contents if isinstance(each, list) for part in each)
    if any(isinstance(part, Mapping) and part.get("type") != "text" for part in parts):
        raise BadRequestError(
            f"an ensemble of kind {kind!r} takes text only; ask one model", param="messages"
        )


def said(voice: Voice) -> str:
    """What others get to read of it."""
    return without_thoughts(voice.choice.text).strip()


class Form:
    """Asks one member for JSON by a schema, and for lines once its engine has refused that."""

    def __init__(self, run: Run, member: Member, phase: str) -> None:
        self._run, self._member, self._phase = run, member, phase
        self._as_json = True

    async def ask(self, as_json: Request, as_lines: Request) -> Voice:
        if self._as_json:
            try:
                return await self._run.one(self._member, as_json, phase=self._phase)
            except BadRequestError:
                self._as_json = False
        return await self._run.one(self._member, as_lines, phase=self._phase)


def schema_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's `response_format`."""
    described = {"name": name, "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": described}


def obj(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema's object that has all of them and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
