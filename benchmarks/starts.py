"""Public start-up logs of vLLM: what was asked, and what the engine printed. From data/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from common.units import GIB
from placement.calibration.startup_report import StartupReport
from placement.footprint.case import Case
from placement.footprint.cases import answer
from placement.footprint.settings import Device, Settings
from placement.models.config_json import facts_of
from placement.models.facts import ModelFacts, StateSpace


@dataclass(frozen=True)
class Figure:
    """A number as it was printed: the true one lies within half of its last digit."""

    value: float
    half: float

    @classmethod
    def of(cls, text: str) -> Figure:
        decimals = len(text.partition(".")[2])
        return cls(float(text), 0.5 * 10**-decimals if "." in text else 0.0)


@dataclass(frozen=True)
class Start:
    """`named`: the log names the model; else it was told by its size, and the config is a guess."""

    asked: Mapping[str, Any]
    config: Mapping[str, Any] | None
    reported: Mapping[str, str]
    failed: bool
    named: bool
    model: str | None
    why: str | None
    source: str

    @property
    def id(self) -> str:
        return str(self.asked["id"])

    def figure(self, name: str) -> Figure | None:
        text = self.reported.get(name)
        return None if text is None else Figure.of(text)

    def answer(self, **more: Any) -> dict[str, Any]:
        return answer({**self.asked, "config": self.config, **more})

    @cached_property
    def facts(self) -> ModelFacts | None:
        return None if self.config is None else facts_of(self.config, self.model or "")

    @property
    def settings(self) -> Settings:
        return self._case.settings

    @property
    def device(self) -> Device | None:
        total = self._case.total_bytes
        return None if total is None else Device(str(self.asked.get("gpu", "")), total)

    @property
    def has_kinds(self) -> bool:
        """Whether layers of several kinds share the KV cache."""
        if self.facts is None:
            return False
        mixers = {
            (type(m), getattr(m, "window", None), getattr(m, "chunk", None))
            for m in (layer.mixer for layer in self.facts.layers)
            if m is not None
        }
        return len(mixers) > 1 or any(kind is StateSpace for kind, _, _ in mixers)

    @property
    def report(self) -> StartupReport:
        """What calibration would have read from this start's log."""
        return StartupReport(
            vllm_version=self.asked.get("vllm_version"),
            on="cuda",
            weights_bytes=self._bytes("weights_gib"),
            activation_bytes=self._bytes("activation_gib"),
            non_torch_bytes=self._bytes("non_torch_gib"),
            cudagraph_bytes=self._bytes("cudagraph_gib"),
            kv_cache_bytes=self._bytes("kv_cache_gib"),
        )

    @property
    def _case(self) -> Case:
        return Case.model_validate(dict(self.asked))

    def _bytes(self, name: str) -> int | None:
        figure = self.figure(name)
        return None if figure is None else int(figure.value * GIB)


def load() -> list[Start]:
    data = files("benchmarks") / "data"
    models = json.loads((data / "models.json").read_text(encoding="utf-8"))["models"]
    lines = (data / "starts.jsonl").read_text(encoding="utf-8").splitlines()
    return [_start(json.loads(line), models) for line in lines]


def _start(row: Mapping[str, Any], models: Mapping[str, Any]) -> Start:
    model = row.get("model")
    return Start(
        asked=row["asked"],
        config=models[model]["config"] if model else None,
        reported=row["reported"],
        failed=row["failed"],
        named=row["named"],
        model=model,
        why=row.get("why"),
        source=row["source"],
    )
