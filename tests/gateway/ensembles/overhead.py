"""How much later an ensemble answers than the slowest of its members: `python -m
tests.gateway.ensembles.overhead`.

Four fake members, each 50 ms long, are asked side by side, bare and as an ensemble, in turns. The
client is this process, and so is the gateway, so that what is told is rather too much.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

from common.config import Config
from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.house import CHAT, House

_NAMES = ("a", "b", "c", "d")
_MEMBER_S = 0.05
_MESSAGES = [{"role": "user", "content": "What is 9 + 9?"}]


class Client:
    """One kept connection."""

    def __init__(self, url: str, model: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._connection.connect()
        self._body = json.dumps({"model": model, "messages": _MESSAGES, "max_tokens": 20})

    def ask(self) -> float:
        """Seconds to the last byte."""
        began = time.perf_counter()
        self._connection.request("POST", CHAT, self._body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == 200
        return time.perf_counter() - began

    def close(self) -> None:
        self._connection.close()


def measure(requests: int) -> tuple[list[float], list[float]]:
    """Seconds of each round: the slowest bare member, and the ensemble."""
    with ExitStack() as stack:
        speakers = [stack.enter_context(FakeSpeaker(model=[n], name=n)) for n in _NAMES]
        for speaker in speakers:
            speaker.say({"say": ["The answer is 18."], "delay_s": _MEMBER_S})
        models = {name: {"source": [s.url]} for name, s in zip(_NAMES, speakers, strict=True)}
        house = House(Config.model_validate({"defaults": {"engine": "openai"}, "models": models}))
        house.start()
        stack.callback(house.stop)
        bare = [Client(s.url, name) for name, s in zip(_NAMES, speakers, strict=True)]
        ensemble = Client(house.url, f"ensemble:compare:{'+'.join(_NAMES)}")
        for client in (*bare, ensemble):
            stack.callback(client.close)
        pool = stack.enter_context(ThreadPoolExecutor(len(bare)))
        slowest, whole = [], []
        for _ in range(requests):
            slowest.append(max(pool.map(Client.ask, bare)))
            whole.append(ensemble.ask())
        return slowest, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    slowest, whole = measure(parser.parse_args().requests)
    beyond = statistics.median(whole) - statistics.median(slowest)
    print(f"slowest of 4 bare members, p50: {statistics.median(slowest) * 1000:.2f} ms")
    print(f"ensemble of the 4, p50: {statistics.median(whole) * 1000:.2f} ms")
    print(f"beyond the slowest member, p50: {beyond * 1000:.2f} ms")


if __name__ == "__main__":
    main()
