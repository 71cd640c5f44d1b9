"""Looks after the models of one Ollama server: are they there, loaded, until when; pulls, keeps.

Ollama loads a model for its first request and unloads it by its own clock. On its OpenAI routes a
request cannot say how long the model stays, so `keep_alive` is set here, once it is loaded.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import aiohttp

from common.errors import EngineConnectError, EngineError, RoundhouseError
from common.ollama_names import canonical
from engines.base import EngineStatus, State
from engines.ollama.client import Ollama, down, missing
from engines.ollama.served import Served
from engines.ollama.told import Running, Shown
from engines.remote import Report

_PERIOD_S = 1.0
_KEEP_PAUSE_S = 30.0
_log = logging.getLogger(__name__)


@dataclass
class _Known:
    """What is remembered of one model from look to look."""

    digest: str = ""
    shown: Shown | None = None
    was_loaded: bool = False
    context_len: int | None = None  # with which it was loaded last
    job: asyncio.Task[None] | None = None  # a pull or a load that is under way
    was_busy: bool = False  # when the server was asked last: its answer may be older than the job
    pulled: bool = False  # once is enough until the server has been away
    pulling: str = ""
    trouble: str | None = None  # why the pull came to nothing
    keep_again_at: float = 0.0

    @property
    def has_job(self) -> bool:
        return self.job is not None and not self.job.done()


async def watch_server(
    url: str, models: Sequence[Served], session: aiohttp.ClientSession, report: Report
) -> None:
    """Reports each of the models, all of which are of the server at `url`, for ever."""
    async with asyncio.TaskGroup() as jobs:
        watch = Watch(Ollama(session, url), models, report, jobs)
        while True:
            await watch.look()
            await asyncio.sleep(_PERIOD_S)


class Watch:
    def __init__(
        self, server: Ollama, models: Sequence[Served], report: Report, jobs: asyncio.TaskGroup
    ) -> None:
        self._server = server
        self._models = models
        self._report = report
        self._jobs = jobs
        self._known = {each.id: _Known() for each in models}
        self._version: str | None = None
        self._is_up = False
        self._began = time.time()

    async def look(self) -> None:
        """One round: what the server has and runs, and what is to be done about it."""
        for known in self._known.values():
            known.was_busy = known.has_job
        try:
            self._version = self._version or await self._server.version()
            there = {canonical(each.name): each.digest for each in await self._server.models()}
            loaded = {canonical(each.name): each for each in await self._server.running()}
            for model in self._models:
                name = canonical(model.name)
                await self._look_at(model, there.get(name), loaded.get(name))
        except EngineError as error:
            self._all_gone(error)
        else:
            self._is_up = True

    def _all_gone(self, error: EngineError) -> None:
        is_down = isinstance(error, EngineConnectError)
        phase = down(self._server.url) if is_down else error.message
        if self._is_up:
            _log.warning("%s", phase)
        self._is_up, self._version = False, None
        for model in self._models:
            known = self._known[model.id]
            # A server that comes back starts anew.
            known.was_loaded, known.pulled, known.trouble = False, False, None
            known.keep_again_at = 0.0
            self._tell(model, EngineStatus(State.STARTING, phase=phase))

    async def _look_at(self, model: Served, digest: str | None, loaded: Running | None) -> None:
        known = self._known[model.id]
        if digest is None:
            self._not_there(model, known)
            return
        if known.shown is None or known.digest != digest:
            known.shown, known.digest = await self._server.show(model.name), digest
            known.context_len = None
        self._keep(model, known, loaded)
        known.was_loaded = loaded is not None
        known.context_len = (loaded.context_len if loaded else None) or known.context_len
        self._tell(model, self._ready(known, loaded))

    def _not_there(self, model: Served, known: _Known) -> None:
        known.shown, known.was_loaded = None, False
        if model.pull and not known.pulled and not known.has_job:
            known.pulled, known.was_busy = True, True
            known.pulling = f"pulling {model.name}"
            known.job = self._jobs.create_task(self._pull(model, known))
        if known.was_busy:
            status = EngineStatus(State.LOADING, phase=known.pulling)
        else:
            error = known.trouble or missing(model.name)
            status = EngineStatus(State.FAILED, error=error, error_code="model_missing")
        self._tell(model, status)

    def _keep(self, model: Served, known: _Known, loaded: Running | None) -> None:
        """Tells the server how long the model stays, as soon as that is not so."""
        keep_alive = model.keep_alive
        if keep_alive is None or known.was_busy:
            return
        if keep_alive.forever:
            is_kept = loaded is not None and loaded.until == math.inf
            is_due = not is_kept and time.monotonic() > known.keep_again_at
        else:
            is_due = loaded is not None and not known.was_loaded
        if is_due:
            # What fails, or runs elsewhere and so is never loaded, is not asked every second.
            known.keep_again_at = time.monotonic() + _KEEP_PAUSE_S
            known.job = self._jobs.create_task(self._set_keep_alive(model, known))

    async def _set_keep_alive(self, model: Served, known: _Known) -> None:
        assert model.keep_alive is not None
        try:
            if model.keep_alive.at_once:
                await self._server.unload(model.name)
            else:
                embeds_only = known.shown is not None and known.shown.embeds_only
                await self._server.load(model.name, model.keep_alive, embeds_only=embeds_only)
        except RoundhouseError as error:
            _log.warning("model %s: keep_alive is not set: %s", model.model, error.message)

    async def _pull(self, model: Served, known: _Known) -> None:
        try:
            async for step in self._server.pull(model.name):
                known.pulling = step
            _log.info("pulled %s", model.name)
        except RoundhouseError as error:
            known.trouble = error.message
            _log.warning("%s", error.message)

    def _ready(self, known: _Known, loaded: Running | None) -> EngineStatus:
        shown = known.shown
        shown_len = (shown.num_ctx or shown.trained_len) if shown else None
        return EngineStatus(
            State.READY,
            max_model_len=known.context_len or shown_len,
            loaded=loaded is not None,
            vram_bytes=loaded.vram_bytes if loaded else 0,
            loaded_until=loaded.until if loaded else None,
            modalities=shown.modalities if shown else None,
            tools=shown.tools if shown else None,
            size_b=shown.size_b if shown else None,
        )

    def _tell(self, model: Served, status: EngineStatus) -> None:
        url = self._server.url
        told = replace(status, url=url, started_at=self._began, version=self._version)
        self._report(model.id, told)
