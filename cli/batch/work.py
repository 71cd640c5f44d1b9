"""One run over what is left of a batch: so many requests under way, each written when it ends.

The two output files are the journal. What stands in them is done; everything else is to do, however
an earlier run ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.batch.figures import Figures
from cli.batch.journal import Journal
from cli.batch.progress import BatchProgress
from cli.batch.request import Request
from cli.batch.send import Sender
from cli.batch.server import Server
from cli.batch.source import Source
from cli.progress import say
from common.errors import RoundhouseError, UsageError

_SYNC_PERIOD_S = 1.0


@dataclass
class Batch:
    """`answered` and `failed` are what earlier runs did."""

    source: Source
    answers: Journal
    errors: Journal
    answered: set[str]
    failed: set[str]
    retry_failed: bool = False
    figures: Figures = field(default_factory=Figures)
    elapsed_s: float = 0.0

    @property
    def left(self) -> int:
        return len(self.source.ids) - len(self.answered) - len(self.failed)

    def run(self, server: Server, concurrency: int, timeout_s: float) -> None:
        before = len(self.answered) + len(self.failed)
        with BatchProgress(len(self.source.ids), before) as progress:
            try:
                asyncio.run(self._run(server, concurrency, timeout_s, progress))
            finally:
                self.elapsed_s = progress.elapsed_s
                self.answers.close()
                self.errors.close()

    async def _run(
        self, server: Server, concurrency: int, timeout_s: float, progress: BatchProgress
    ) -> None:
        requests = self.source.requests(self.answered | self.failed)
        async with Sender(server, concurrency, timeout_s, say) as sender:
            await sender.check()
            if self.retry_failed:
                self.errors.drop()
            try:
                await self._work(requests, sender, progress, concurrency)
            finally:
                self._sync()

    async def _work(
        self,
        requests: Iterator[Request],
        sender: Sender,
        progress: BatchProgress,
        concurrency: int,
    ) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(self._keep(progress))
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(concurrency, self.left)):
                        workers.create_task(self._worker(requests, sender, progress))
                keeping.cancel()
        except* RoundhouseError as several:
            raise _first(several) from None

    async def _worker(
        self, requests: Iterator[Request], sender: Sender, progress: BatchProgress
    ) -> None:
        """All workers draw from the same iterator, so that no request waits in memory."""
        for request in requests:
            outcome = await sender.ask(request)
            (self.answers if outcome.is_answer else self.errors).add(outcome.line())
            self.figures.add(outcome)
            progress.add(is_answer=outcome.is_answer)

    async def _keep(self, progress: BatchProgress) -> None:
        """A power cut loses a second of answers at most; a kill loses none."""
        while True:
            await asyncio.sleep(_SYNC_PERIOD_S)
            await asyncio.to_thread(self._sync)
            progress.show()

    def _sync(self) -> None:
        self.answers.sync()
        self.errors.sync()

    def told(self) -> dict[str, Any]:
        figures = self.figures
        failed = len(self.failed) + figures.failed
        return {
            "input": str(self.source.path),
            "output": str(self.answers.path),
            "errors": str(self.errors.path) if failed else None,
            "requests": len(self.source.ids),
            "answered": len(self.answered) + figures.requests - figures.failed,
            "failed": failed,
            "before": len(self.answered) + len(self.failed),
            "elapsed_s": round(self.elapsed_s, 3),
            "models": figures.told(self.elapsed_s),
        }


def opened(source: Source, out: Path, *, retry_failed: bool) -> Batch:
    """What is done already. Raises UsageError when the output is of another input."""
    answers, errors = Journal(out), Journal(errors_path(out))
    failed = set() if retry_failed else errors.ids()
    found = Batch(source, answers, errors, answers.ids(), failed, retry_failed)
    for journal, ids in ((answers, found.answered), (errors, found.failed)):
        if strangers := ids - source.ids.keys():
            raise UsageError(
                f"{journal.path}: has custom_id {min(strangers)!r}, which {source.path} has not; "
                "name another output"
            )
    found.failed -= found.answered
    return found


def errors_path(out: Path) -> Path:
    """Beside out.jsonl: out.errors.jsonl."""
    return out.with_name(f"{out.stem}.errors{out.suffix or '.jsonl'}")


def _first(several: BaseExceptionGroup[RoundhouseError]) -> RoundhouseError:
    """The same trouble reaches all workers at once; one message is enough."""
    found: BaseException = several
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, RoundhouseError)
    return found
