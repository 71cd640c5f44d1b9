"""Labelled prompts for the classifier: ours, or another file with the same fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks import machine
from common.errors import UsageError
from router.classify import Task

OURS = machine.ROOT / "benchmarks" / "data" / "routing_prompts.jsonl"
# What the learned table comes from.
TRAINING = machine.ROOT / "benchmarks" / "data" / "routing_training.jsonl"
# Nobody has looked at these while working on the classifier, nor are they what it learned from.
HELD_OUT = machine.ROOT / "benchmarks" / "data" / "routing_heldout.jsonl"
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Prompt:
    id: str
    turns: tuple[tuple[str, str], ...]  # (role, text); the last is the user's
    lang: str
    task: Task
    hard: bool | None = None
    source: str | None = None

    @property
    def text(self) -> str:
        return self.turns[-1][1]

    def saying(self, text: str) -> Prompt:
        """The same conversation with other last words."""
        turns = (*self.turns[:-1], ("user", text))
        return Prompt(self.id, turns, self.lang, self.task, self.hard, self.source)

    def body(self) -> bytes:
        messages = [{"role": role, "content": text} for role, text in self.turns]
        fields = {"model": "auto", "messages": messages}
        return json.dumps(fields, ensure_ascii=False).encode()


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class _Row(BaseModel):
    """Other fields (a note, a licence) may stand beside these."""

    id: str | None = None
    text: str | None = Field(default=None, min_length=1)
    messages: list[_Message] | None = Field(default=None, min_length=1)
    lang: str
    task: Task
    hard: bool | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _one_wish(self) -> _Row:
        if (self.text is None) == (self.messages is None):
            raise ValueError("give either text or messages")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        return self

    def prompt(self, number: int) -> Prompt:
        said = self.messages or ()
        turns = tuple((each.role, each.content) for each in said) or (("user", self.text or ""),)
        name = self.id or str(number)
        return Prompt(name, turns, self.lang, self.task, self.hard, self.source)


def load_all(paths: Sequence[Path]) -> list[Prompt]:
    """Raises UsageError, as `load`. A prompt without a source has its file's name for one."""
    prompts = [(path, prompt) for path in paths for prompt in load(path)]
    return [replace(prompt, source=prompt.source or path.stem) for path, prompt in prompts]


def load(path: Path = OURS) -> list[Prompt]:
    """Raises UsageError that names the line and what is wrong with it."""
    try:
        # Not splitlines(): a prompt may hold other line separators of Unicode.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UsageError(f"{path}: holds no prompts")
    return [_prompt(path, number, line) for number, line in rows]


def _prompt(path: Path, number: int, line: str) -> Prompt:
    try:
        return _Row.model_validate_json(line).prompt(number)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "row"
        raise UsageError(f"{path}:{number}: {where}: {wrong['msg']}") from None
