"""The fake engine with words of its own: what it answers depends on what it is asked.

`POST /fake/words` sets rules, [{"when": TEXT, "say": [TEXTS], "delay_s": S, "logprob": X}]: the
first rule whose `when` stands in the last message says its next text, or with `n` the next ones.
`{"takes_n": false}` makes it refuse `n`, and `"ignores_n"` answer once. Run by
tests/fakes/running_speaker.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import engine
from tests.fakes.engine import DONE, JsonObject, Script, error, json_response, sse, usage


@dataclass
class Rule:
    say: list[str]
    when: str = ""
    delay_s: float = 0.0
    logprob: float = -0.1
    said: int = 0

    def next(self) -> str:
        self.said += 1
        return self.say[(self.said - 1) % len(self.say)]


@dataclass
class Words:
    rules: list[Rule] = field(default_factory=list)
    takes_n: bool = True
    ignores_n: bool = False

    def rule_for(self, body: JsonObject) -> Rule:
        asked = last_text(body)
        found = (rule for rule in self.rules if rule.when in asked)
        return next(found, None) or Rule(["I have nothing to say."])


class Speaker(engine.Engine):
    def __init__(self, settings: engine.Settings) -> None:
        super().__init__(settings)
        self.words = Words()
        self.bodies: list[JsonObject] = []
        self.pages["POST", "/fake/words"] = self.set_words
        self.pages["GET", "/fake/bodies"] = lambda _: json_response({"bodies": self.bodies})

    def set_words(self, request: engine.Request) -> bytes:
        told = json.loads(request.body)
        rules = [Rule(**rule) for rule in told.pop("rules", ())]
        self.words, self.bodies = Words(rules, **told), []
        return json_response({})


class Connection(engine.Connection):
    engine: Speaker

    def generate(self, request: engine.Request, fault: engine.Behaviour) -> None:
        body = json.loads(request.body)
        speaker = self.engine
        speaker.bodies.append(body)
        n = body.get("n") or 1
        if n > 1 and not speaker.words.takes_n:
            self.finish(error(400, "n must be 1", engine.BAD_REQUEST))
            return
        rule = speaker.words.rule_for(body)
        texts = [rule.next() for _ in range(1 if speaker.words.ignores_n else n)]
        play = script(body, texts, rule, speaker.settings.name)
        speaker.stats.generation_tokens += len(play.tokens)
        if body.get("stream"):
            self.stream(engine.spoiled(play, fault), rule.delay_s)
        else:
            answer = json_response(whole(body, texts))
            rate = speaker.settings.token_rate
            said_s = len(play.tokens) / rate if rate else 0.0
            self.later(rule.delay_s + said_s, lambda: self.send(answer, fault))


def last_text(body: JsonObject) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else json.dumps(content)


def cut(body: JsonObject, text: str) -> tuple[list[str], str]:
    """As many words as are asked for at the most, each a token, and why they end."""
    words = re.findall(r"\s*\S+", text)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    return words[:limit], "length" if len(words) > limit else "stop"


def script(body: JsonObject, texts: list[str], rule: Rule, name: str) -> Script:
    """Samples one after the other in turns, as an engine that works on all at once has it."""
    frame = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": engine.CREATED}
    frame |= {"model": body["model"], "system_fingerprint": name}

    def event(index: int, delta: JsonObject, finish: str | None = None) -> bytes:
        choice: JsonObject = {"index": index, "delta": delta, "finish_reason": finish}
        if body.get("logprobs") and delta.get("content"):
            others = [{"token": "other", "logprob": rule.logprob - 1.0}]
            token = {"token": delta["content"], "logprob": rule.logprob, "top_logprobs": others}
            choice["logprobs"] = {"content": [token]}
        return sse(frame | {"choices": [choice]})

    parts = [cut(body, text) for text in texts]
    longest = max(len(words) for words, _ in parts)
    preamble = [event(i, {"role": "assistant", "content": ""}) for i in range(len(texts))]
    tokens: list[bytes] = []
    for place in range(max(1, longest)):
        for i, (words, finish) in enumerate(parts):
            last = place == max(0, len(words) - 1)
            if place < len(words):
                tokens.append(event(i, {"content": words[place]}, finish if last else None))
            elif last:
                tokens.append(event(i, {}, finish))
    counted = sum(len(words) for words, _ in parts)
    asked = (body.get("stream_options") or {}).get("include_usage")
    spent = usage(prompt_tokens(body), counted)
    tail = [sse(frame | {"choices": [], "usage": spent})] if asked else []
    return Script(preamble, tokens, [*tail, DONE], dead=engine.DEAD_EVENTS)


def whole(body: JsonObject, texts: list[str]) -> JsonObject:
    parts = [cut(body, text) for text in texts]
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": "".join(words)},
            "finish_reason": finish,
        }
        for i, (words, finish) in enumerate(parts)
    ]
    spent = usage(prompt_tokens(body), sum(len(words) for words, _ in parts))
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": engine.CREATED,
        "model": body["model"],
        "choices": choices,
        "usage": spent,
    }


def prompt_tokens(body: JsonObject) -> int:
    return sum(len(json.dumps(message).split()) for message in body["messages"])


async def serve(settings: engine.Settings, args: Any) -> None:
    loop = asyncio.get_running_loop()
    speaker = Speaker(settings)
    server = await loop.create_server(lambda: Connection(speaker), args.host, args.port)
    await loop.connect_read_pipe(engine.ParentWatch, sys.stdin)
    print(f"ready http://{args.host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    args = engine.arguments()
    models = tuple(args.model or ["fake"])
    settings = engine.Settings(
        models, args.name, args.token_rate, args.first_token_delay, args.burst
    )
    asyncio.run(serve(settings, args))


if __name__ == "__main__":
    main()
