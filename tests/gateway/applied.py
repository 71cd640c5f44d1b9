"""A ManagedHouse that takes other configs, staged as `config apply` does it, but for the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import httpx2 as httpx

from common.config import Config
from gateway.applying import Applying
from gateway.far import Watches
from gateway.setup import Setup
from placement.plan.timetable import Timetable
from tests.gateway.managed import FakeShed, ManagedHouse, spec_of

TOKEN = "token-of-the-server"


class ApplyingHouse(ManagedHouse):
    def __init__(self, data: dict[str, Any], shed: FakeShed, room: int) -> None:
        super().__init__(Config.model_validate(data), shed, room)

    def start(self) -> None:
        super().start()
        self.call(self._begin())

    async def _begin(self) -> None:
        self.watches = Watches(self.gateway.session, self.dispatcher.report)
        self.watches.follow(self.gateway.config)
        setup = self.setup(self.gateway.config.model_copy(deep=True))
        setup.save()
        self.gateway.applying = Applying(
            self.gateway, setup, lambda setup: self.watches.follow(setup.config)
        )

    def stop(self) -> None:
        self.call(self._end())
        super().stop()

    async def _end(self) -> None:
        self.watches.close()

    def setup(self, config: Config, before: str = "") -> Setup:
        roster = self.roster(config)
        specs = tuple(spec_of(config, model.name) for model in roster.models)
        return Setup(config, cast("Timetable", None), specs, roster, TOKEN, before)

    @property
    def in_force(self) -> Setup:
        assert self.gateway.applying
        return self.gateway.applying.setup

    def staged(self, data: dict[str, Any]) -> Setup:
        setup = self.setup(Config.model_validate(data), self.in_force.id)
        setup.stage()
        return setup

    def apply(self, http: httpx.Client, data: dict[str, Any]) -> httpx.Response:
        return http.post("/admin/config", json={"setup": self.staged(data).id})

    def stale(self, data: dict[str, Any]) -> Setup:
        """Made of another one than that in force."""
        setup = replace(self.setup(Config.model_validate(data)), before="0" * 16)
        setup.stage()
        return setup
