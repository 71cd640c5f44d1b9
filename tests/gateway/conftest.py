"""A whole gateway over fake engines: only Ray and the models are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import anthropic
import httpx2 as httpx
import openai
import pytest

from common.config import Config
from tests.fakes.cloud import KEY
from tests.fakes.clouds import FakeCloud
from tests.fakes.running import FakeEngine
from tests.gateway.far import VARIABLE, FarHouse
from tests.gateway.house import House, eventually

NAMES = ["m", "gpt-4o-mini", "org/model", "other"]


class Build(Protocol):
    def __call__(
        self,
        *engines: FakeEngine,
        models: dict[str, dict[str, Any]] | None = None,
        model: dict[str, Any] | None = None,
        admin_token: str = "",
        **sections: dict[str, Any],
    ) -> House: ...


@pytest.fixture
def build() -> Iterator[Build]:
    """`build(one, two, model={...}, server={...})`: model "m" over two engines; `models` adds."""
    with ExitStack() as stack:

        def build(
            *engines: FakeEngine,
            models: dict[str, dict[str, Any]] | None = None,
            model: dict[str, Any] | None = None,
            admin_token: str = "",
            **sections: dict[str, Any],
        ) -> House:
            first = {"m": {"source": [e.url for e in engines], **(model or {})}} if engines else {}
            sections["defaults"] = {"engine": "openai", **sections.get("defaults", {})}
            data = {"models": first | (models or {}), **sections}
            house = House(Config.model_validate(data), admin_token)
            house.start()
            stack.callback(house.stop)
            return house

        yield build


@pytest.fixture(scope="session")
def _engines() -> Iterator[list[FakeEngine]]:
    with ExitStack() as stack:
        names = ("one", "two", "three")
        yield [stack.enter_context(FakeEngine(model=NAMES, name=name)) for name in names]


@pytest.fixture
def engines(_engines: list[FakeEngine]) -> list[FakeEngine]:
    """Three engines that name themselves one, two and three, as good as new."""
    for engine in _engines:
        eventually(lambda engine=engine: engine.stats()["in_flight"] == 0)
        engine.reset()
    return _engines


@pytest.fixture
def one(engines: list[FakeEngine]) -> FakeEngine:
    return engines[0]


@pytest.fixture
def two(engines: list[FakeEngine]) -> FakeEngine:
    return engines[1]


@pytest.fixture
def mortal() -> Iterator[FakeEngine]:
    """An engine of this test alone, which it may kill."""
    with FakeEngine(model=NAMES, name="mortal") as engine:
        yield engine


@pytest.fixture
def http() -> Iterator[Callable[..., httpx.Client]]:
    with ExitStack() as stack:

        def client(url: str | House | FakeEngine, **options: Any) -> httpx.Client:
            base = url if isinstance(url, str) else url.url
            options = {
                "base_url": base,
                "timeout": 30,
                "trust_env": False,
                "verify": False,
            } | options
            return stack.enter_context(httpx.Client(**options))

        yield client


@pytest.fixture
def sdk() -> Iterator[Callable[..., openai.OpenAI]]:
    with ExitStack() as stack:

        def client(house: House, **options: Any) -> openai.OpenAI:
            options = {"api_key": "none", "max_retries": 0, "timeout": 30} | options
            return stack.enter_context(openai.OpenAI(base_url=f"{house.url}/v1", **options))

        yield client


@pytest.fixture
def claude() -> Iterator[Callable[..., anthropic.Anthropic]]:
    with ExitStack() as stack:

        def client(house: House, **options: Any) -> anthropic.Anthropic:
            options = {"api_key": "none", "max_retries": 0, "timeout": 30} | options
            return stack.enter_context(anthropic.Anthropic(base_url=house.url, **options))

        yield client


@pytest.fixture(scope="session")
def _clouds() -> Iterator[tuple[FakeCloud, FakeCloud]]:
    with FakeCloud("openai") as one, FakeCloud("anthropic") as two:
        yield one, two


@pytest.fixture
def clouds(
    _clouds: tuple[FakeCloud, FakeCloud], monkeypatch: pytest.MonkeyPatch
) -> tuple[FakeCloud, FakeCloud]:
    """OpenAI's API and Anthropic's; the key for both is in VARIABLE."""
    monkeypatch.setenv(VARIABLE, KEY)
    for cloud in _clouds:
        cloud.reset()
    return _clouds


@pytest.fixture
def open_house() -> Iterator[Callable[..., House]]:
    """A gateway to providers: models' entries, and other sections of the config by name."""
    with ExitStack() as stack:

        def build(models: dict[str, Any], **sections: Any) -> House:
            house = FarHouse(Config.model_validate({"models": models, **sections}))
            house.start()
            stack.callback(house.stop)
            return house

        yield build
