"""Does an answer pass? Everything that the config's `check` says is looked at, the cheap first."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from common.ensembles_judged import CheckConfig
from common.errors import BadRequestError
from router.ensembles.checks import child, formats, syscalls
from router.ensembles.checks.limits import CODE, MATCH, Limits

_HERE = Path(__file__).parent
_BLOCK = re.compile(r"```[ \t]*(?P<tag>[\w+-]*)[^\n]*\n(?P<code>.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_PYTHON = ("python", "py", "python3", "")
_JSON = ("json", "")
_REASON_CHARS = 300

# Of one point that is checked: what is wrong, or None.
Complaint = str | None
Point = Callable[[], Awaitable[Complaint]]


@dataclass(frozen=True, slots=True)
class Finding:
    """`complaints`: by the key of the config that it fails; `score`: the share that it passes."""

    complaints: dict[str, str]
    score: float

    @property
    def passed(self) -> bool:
        return not self.complaints


class Checking(Protocol):
    """What `best_of` asks of a check."""

    async def ready(self) -> None:
        """Raises BadRequestError where this box cannot check so."""
        ...

    async def of(self, answer: str) -> Finding: ...


class Check:
    def __init__(self, spec: CheckConfig) -> None:
        self._spec = spec

    async def ready(self) -> None:
        if self._spec.tests is None:
            return
        reason = await unavailable()
        if reason is not None:
            raise BadRequestError(
                f"check.tests: this box cannot shut code in, so it is not run: {reason}",
                param="routing",
            )

    async def of(self, answer: str) -> Finding:
        points = self._points(answer)
        told = {key: await point() for key, point in points.items()}
        complaints = {key: wrong for key, wrong in told.items() if wrong is not None}
        return Finding(complaints, 1 - len(complaints) / len(points))

    def _points(self, answer: str) -> dict[str, Point]:
        spec = self._spec
        points: dict[str, Point] = {}
        if spec.min_chars or spec.max_chars:
            points["length"] = _plain(formats.wrong_length, answer, spec.min_chars, spec.max_chars)
        if spec.language:
            points["language"] = _plain(formats.wrong_language, answer, spec.language)
        if spec.unit:
            points["unit"] = _plain(formats.without_unit, answer, spec.unit)
        if spec.json_schema is not None:
            points["json_schema"] = partial(invalid, answer, spec.json_schema)
        if spec.regex is not None:
            points["regex"] = partial(_matched, {"regex": spec.regex, "text": answer})
        if spec.tests is not None:
            points["tests"] = partial(failing, answer, spec.tests)
        return points


def _plain(check: Callable[..., Complaint], *words: Any) -> Point:
    async def point() -> Complaint:
        return check(*words)

    return point


async def invalid(answer: str, schema: dict[str, Any]) -> Complaint:
    try:
        value = json.loads(in_block(answer, _JSON))
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return await _matched({"json_schema": schema, "value": value})


async def _matched(question: dict[str, Any]) -> Complaint:
    return await _told(_HERE / "matching.py", question, MATCH)


async def failing(answer: str, tests: str, limits: Limits = CODE) -> Complaint:
    code = in_block(answer, _PYTHON)
    runner = (_HERE / "runner.py").read_text(encoding="utf-8")
    denials = syscalls.denials()
    if denials is None:
        return "its machine's system calls are not known"
    question = {"code": code, "tests": tests, "runner": runner, "denials": denials.hex()}
    return await _told(_HERE / "jail.py", question, limits, "-S")


async def _told(script: Path, question: dict[str, Any], limits: Limits, *flags: str) -> Complaint:
    try:
        reply = await child.ask(
            script, {**question, "limits": asdict(limits)}, limits.wall_s, *flags
        )
    except child.NoReplyError as error:
        return str(error)
    return _complaint_of(reply)


def _complaint_of(reply: Any) -> Complaint:
    """The code may have written the reply itself."""
    if not isinstance(reply, dict) or "error" not in reply:
        return f"no verdict: {reply}"[:_REASON_CHARS]
    return None if reply["error"] is None else str(reply["error"])


_proven: list[bool] = []


async def unavailable() -> str | None:
    """Why code cannot be run here; asked once, as long as it can."""
    if not _proven:
        reason = await failing("", "")
        if reason is not None:
            return reason
        _proven.append(True)
    return None


def in_block(answer: str, tags: tuple[str, ...]) -> str:
    """What stands in its code blocks of these tags; without one, the whole."""
    blocks = [found["code"] for found in _BLOCK.finditer(answer) if found["tag"].lower() in tags]
    return "\n\n".join(blocks) or answer
