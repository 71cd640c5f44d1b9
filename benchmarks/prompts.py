"""Request bodies: prompts of a wanted length, all different, as bytes ready to send."""

import json
import random
from collections.abc import Sequence
from typing import Any, Final

# Common words, one token each in the usual vocabularies.
TEXT: Final = (
    "time year people way day man thing woman life child world school state family student group"
    " country problem hand part place case week company system program question work government"
    " number night point home water room mother area money story fact month lot right study book"
    " eye job word business issue side kind head house service friend father power hour game line"
)
WORDS: Final = TEXT.split()


def text(words: int, rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def body(model: str, prompt: str, tokens: int, *, stream: bool) -> bytes:
    value: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": stream,
    }
    if stream:
        value["stream_options"] = {"include_usage": True}
    return json.dumps(value).encode()


def distinct(words: int, count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [text(words, rng) for _ in range(count)]


def mixed(count: int, seed: int) -> list[str]:
    """Three of four share one of eight long prefixes, so that a cache-aware router has work."""
    rng = random.Random(seed)
    prefixes = [text(200, rng) for _ in range(8)]
    return [
        text(240, rng) if i % 4 == 0 else f"{rng.choice(prefixes)} {text(40, rng)}"
        for i in range(count)
    ]


def bodies(model: str, prompts: Sequence[str], tokens: int, *, stream: bool) -> list[bytes]:
    return [body(model, prompt, tokens, stream=stream) for prompt in prompts]
