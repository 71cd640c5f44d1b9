"""Several samples of one model: as one request with `n` where its engine takes that, so that the
prompt is read once; else as so many requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from common.config import EngineName
from router.ensembles.ask import Choice, Meter, Request

# Of engine openai it depends on who stands behind it; that is found out.
_TAKE_N = frozenset({"vllm", "llamacpp", "openai"})


class Sampling:
    """Which models take `n`, as far as is known. llama.cpp takes as many as it has slots."""

    def __init__(self, engine_of: Callable[[str], EngineName]) -> None:
        self._engine_of = engine_of
        self._refused: dict[str, int] = {}

    def in_one(self, model: str, request: Request) -> bool:
        if request.samples == 1:
            return True
        if request.fields.get("temperature") == 0:
            return False  # vLLM refuses to give the same answer several times
        fewest_refused = self._refused.get(model, request.samples + 1)
        return self._engine_of(model) in _TAKE_N and request.samples < fewest_refused

    def refused(self, model: str, samples: int) -> None:
        self._refused[model] = min(samples, self._refused.get(model, samples))


def singles(request: Request, begin: int = 0) -> Iterator[Request]:
    """A request for each sample from `begin` on. With one seed they would all say the same."""
    seed = request.fields.get("seed")
    for i in range(begin, request.samples):
        fields = request.fields
        if isinstance(seed, int):
            fields = {**fields, "seed": seed + i}
        yield replace(request, samples=1, fields=fields)


class PartMeter(Meter):
    """Of one call of several that have one meter together."""

    def __init__(self, whole: Meter, index: int) -> None:
        super().__init__()
        self._whole = whole
        self._index = index

    def heard(self, tokens: int) -> None:
        self.output_tokens += tokens
        self._whole.heard(tokens)

    def finished(self, choice: Choice) -> None:
        self._whole.finished(replace(choice, index=self._index))
