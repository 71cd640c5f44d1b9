"""The border of ensembles: what goes to a member, what comes back, and who carries it.

Whoever runs an ensemble brings an `Ask`. The shapes are those of chat completions; other surfaces
translate to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from common.errors import EngineError

# Fewer than any text has, so that a budget that rests on it holds: UTF-8 bytes a token.
BYTES_PER_TOKEN = 3
_TOKENS_PER_MESSAGE = 8  # what chat templates put around one, about
_OWN_FIELDS = frozenset(
    {"model", "stream", "stream_options", "messages", "n", "routing", "plugins"}
)


@dataclass(frozen=True, slots=True)
class Member:
    """A model as it takes part. `record`: the share of such questions that it gets right."""

    model: str
    record: float | None = None
    turn: str | None = None  # members of the same turn answer one after the other: one GPU
    context_tokens: int | None = None  # prompt and answer together; None: not known


@dataclass(frozen=True, slots=True)
class Request:
    """What a member is asked. `fields`: all else that the client's body said, for every member."""

    messages: tuple[Mapping[str, Any], ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 1
    max_tokens: int | None = None  # of one sample
    prompt_tokens: int = 0  # an estimate; a budget in tokens holds as far as it is not too low
    logprobs: bool = False  # whether `Choice.logprobs` are wanted

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Request:
        """Of a chat completion's body."""
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        messages = tuple(body.get("messages", ()))
        return cls(
            messages,
            {key: value for key, value in body.items() if key not in _OWN_FIELDS},
            max_tokens=limit if isinstance(limit, int) else None,
            prompt_tokens=estimated_tokens(messages),
            logprobs=bool(body.get("logprobs")),
        )

    @property
    def question(self) -> str:
        """The text of the last message of the user."""
        users = (m.get("content") for m in reversed(self.messages) if m.get("role") == "user")
        return text_of(next(users, None))

    def saying(self, messages: Sequence[Mapping[str, Any]], **fields: Any) -> Request:
        """Another question under the same terms; `fields` replace the client's, None removes."""
        said = {**self.fields, **fields}
        return replace(
            self,
            messages=tuple(messages),
            fields={key: value for key, value in said.items() if value is not None},
            prompt_tokens=estimated_tokens(messages),
            samples=1,
        )

    def limited(self, max_tokens: int) -> Request:
        """No longer an answer than that."""
        return replace(self, max_tokens=min(max_tokens, self.max_tokens or max_tokens))

    def sampled(self, samples: int, temperature: float | None) -> Request:
        """So many answers in one call. A temperature that the client names stays."""
        fields = self.fields
        if temperature is not None and "temperature" not in fields:
            fields = {**fields, "temperature": temperature}
        return replace(self, samples=samples, fields=fields)

    def body(self, model: str, *, stream: bool) -> dict[str, Any]:
        """As a chat completion's body."""
        limit = "max_completion_tokens" if "max_completion_tokens" in self.fields else "max_tokens"
        body: dict[str, Any] = {**self.fields, "model": model, "messages": list(self.messages)}
        if self.max_tokens is not None:
            body[limit] = self.max_tokens
        if self.samples > 1:
            body["n"] = self.samples
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": max(2, body.get("top_logprobs") or 0)}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


@dataclass(frozen=True, slots=True)
class Token:
    """Log-probabilities of a token that was taken, and of the likeliest other one."""

    logprob: float
    runner_up: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One sample. `message` is the whole message as the engine gave it, tool calls included."""

    text: str
    index: int = 0
    finish_reason: str | None = "stop"
    message: Mapping[str, Any] | None = None
    logprobs: tuple[Token, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.text.strip() and not (self.message or {}).get("tool_calls")

    @property
    def is_cut(self) -> bool:
        return self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """All samples of one call. `model`: who answered really, where a fallback stood in."""

    choices: tuple[Choice, ...]
    usage: Usage | None = None  # None: what the meter counted
    model: str = ""
    replica: str | None = None
    cost_usd: float | None = None


class Meter:
    """What one call has cost so far. The `Ask` counts while the answer comes, so that it is known
    of a call that is cancelled, too."""

    def __init__(
        self,
        allowance: int | None = None,
        on_choice: Callable[[Choice], None] | None = None,
        *,
        final: bool = False,
    ) -> None:
        self.final = final  # the text may go to the client as it comes
        self.said = False  # to be set once some of it has
        self.prompt_tokens: int | None = None  # to be set where it is told
        self.model = ""  # who is asked really; to be set once that is known
        self.output_tokens = 0
        self._allowance = allowance
        self._on_choice = on_choice

    def heard(self, tokens: int) -> None:
        """So many more tokens have come. Raises EngineError past what the call may cost."""
        self.output_tokens += tokens
        if self._allowance is not None and self.output_tokens > self._allowance:
            raise EngineError(
                f"more than the {self._allowance} tokens that were asked for at the most"
            )

    def finished(self, choice: Choice) -> None:
        """A sample is whole, though others of the same call may not be."""
        if self._on_choice:
            self._on_choice(choice)


class Ask(Protocol):
    """Carries a request to a member.

    Raises RoundhouseError (or TimeoutError) when that fails. Cancelled, it hangs up, so that the
    engine stops, and lets the CancelledError through. `meter.heard` is called as tokens come;
    `meter.finished` may be, for samples that are whole before the last one is. An engine that does
    not know `n` is asked once for each sample.
    """

    async def __call__(self, member: Member, request: Request, meter: Meter) -> Answer: ...


def text_of(content: Any) -> str:
    """Of a message's content, which is text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))


def estimated_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """More than most tokenizers make of it; images are not counted."""
    n_bytes = sum(len(text_of(message.get("content")).encode()) for message in messages)
    return n_bytes // BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * len(messages)
