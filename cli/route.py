"""`roundhouse route`: what `model: auto` would do with a prompt, and why. No model is asked.

A Roundhouse that runs is asked, so that load and health count; else the config has to do.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.listing import print_json, print_table
from cli.serve import load_config
from cli.source import ALONE, Source
from common.config import Config
from common.errors import UsageError
from router.auto import Auto, Decision, Wish, described
from router.candidates import of_profiles, profiles_of
from router.classify import Conversation, of_text, read
from router.classify.own_patterns import rules_of

Decide = Callable[[Conversation | None], Decision]


def route(prompt: str, source: Source, *, as_json: bool) -> None:
    """Prints the decision for one prompt, and who made it."""
    if not prompt:
        raise UsageError("route needs a prompt, --jsonl FILE or --table")
    client = source.client()
    told = client.route(prompt) if client else by_config(prompt, source.config)
    if as_json:
        print_json({"asked": client.url if client else None, **told})
        return
    print(f"asked {client.url}" if client else ALONE)
    _show(told)


def by_config(prompt: str, config: Config) -> dict[str, Any]:
    """As `POST /v1/route` would tell it."""
    decision = _decider(config)(of_text(prompt))
    stage = config.router.second_stage
    is_unsure = stage is not None and decision.verdict.confidence < stage.below
    return {**described(decision), "second_stage": stage.model if stage and is_unsure else None}


def _show(told: Mapping[str, Any]) -> None:
    print(f"{told['model']}  ({told['reason']})")
    print(f"task {told['task']}, confidence {told['confidence']:.2f}, language {told['language']}")
    print(f"because of {told['because']}")
    if told.get("second_stage"):
        print(f"not sure: a request would have {told['second_stage']} name the task")
    print()
    if told["patterns"]:
        rows = [
            (p["task"], f"{p['weight']:+.2f}", p["pattern"], p["matched"]) for p in told["patterns"]
        ]
        print_table(("SPOKE FOR", "WEIGHT", "PATTERN", "MATCHED"), rows)
        print()
    print_table(
        ("CANDIDATE", "SCORE", "QUALITY", "EXPECTED", "QUALITY IS FROM"),
        (
            (
                c["model"],
                f"{c['score']:.3f}",
                f"{c['quality']:.2f}",
                f"{c['expected_s']:.1f} s",
                c["quality_source"],
            )
            for c in told["candidates"]
        ),
    )
    for each in told["refused"]:
        print(f"{each['model']}: {each['why']}")


def route_lines(source: str, config: Path | None) -> int:
    """JSON lines {"id", "text"} in, one decision a line out; 1 when a line could not be used."""
    decide = _decider(load_config(config, (), None, None))
    bad = 0
    for line in _lines(source):
        answer = _answer(line, decide)
        bad += "error" in answer
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    return int(bad > 0)


def _decider(config: Config) -> Decide:
    candidates = of_profiles(profiles_of(config).values())
    auto = Auto(rules_of(config), config.router.strategy, config.router.conversations)
    return lambda said: auto.decide(said, Wish(), candidates, only_ask=True)


def _answer(line: str, decide: Decide) -> dict[str, Any]:
    try:
        asked = json.loads(line)
    except json.JSONDecodeError as error:
        return {"id": None, "error": f"not JSON: {error}"}
    said = _conversation(asked)
    if said is None:
        found = asked.get("id") if isinstance(asked, dict) else None
        return {"id": found, "error": 'a line is {"id": ..., "text": "..."}'}
    began = time.perf_counter()
    decision = decide(said)
    elapsed_ms = (time.perf_counter() - began) * 1000
    return {
        "id": asked.get("id"),
        "task": decision.verdict.task,
        "confidence": decision.verdict.confidence,
        "language": decision.verdict.language,
        "model": decision.model,
        "ms": round(elapsed_ms, 3),
    }


def _conversation(asked: Any) -> Conversation | None:
    """Of a line's text, or of the messages of a conversation."""
    if not isinstance(asked, dict):
        return None
    if isinstance(asked.get("text"), str):
        return of_text(asked["text"])
    if isinstance(asked.get("messages"), list):
        return read("/v1/chat/completions", json.dumps(asked).encode())
    return None


def _lines(source: str) -> Iterator[str]:
    yield from _filled(sys.stdin) if source == "-" else _of_file(Path(source))


def _of_file(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from _filled(file)
    except OSError as error:
        raise UsageError(f"--jsonl: cannot read {path}: {error.strerror}") from None


def _filled(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())
