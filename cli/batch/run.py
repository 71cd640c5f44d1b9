"""The verb: checks the input, claims the output, runs what is left, and tells what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.batch.claim import Claim, claim_path, claimed
from cli.batch.report import report
from cli.batch.request import Plain
from cli.batch.server import Server
from cli.batch.source import Source, checked
from cli.batch.work import Batch, errors_path, opened
from cli.progress import say
from common.errors import RoundhouseError, UsageError
from common.units import parse_duration


@dataclass(frozen=True)
class Wish:
    """The command line; None leaves it to the defaults."""

    source: Path
    out: Path
    model: str | None = None
    max_tokens: int | None = None
    concurrency: int | None = None
    timeout_s: float = 600.0
    port: int | None = None
    url: str | None = None
    retry_failed: bool = False


def batch(wish: Wish, *, as_json: bool) -> int:
    """Exit code 0 when every request has an answer, 1 when some failed."""
    plain = Plain(wish.model or "auto", wish.max_tokens)
    source = checked(wish.source, plain)
    _check(wish, source)
    with claimed(wish.out, Claim.of(source)):
        found = opened(source, wish.out, retry_failed=wish.retry_failed)
        if found.left:
            _run(found, wish)
        told = found.told()
        report(told, as_json=as_json)
    return int(told["failed"] > 0)


def seconds(timeout: str) -> float:
    """Raises UsageError."""
    try:
        return parse_duration(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None


def _run(found: Batch, wish: Wish) -> None:
    server = Server.found(wish.port, wish.url)
    concurrency = wish.concurrency or server.concurrency()
    say(f"{found.left} requests to {server.url}, {concurrency} at once")
    try:
        found.run(server, concurrency, wish.timeout_s)
    except (RoundhouseError, KeyboardInterrupt):
        done = len(found.source.ids) - found.left + found.figures.requests
        say(
            f"stopped: {done} of {len(found.source.ids)} are done; "
            "the same command goes on from there"
        )
        raise


def _check(wish: Wish, source: Source) -> None:
    if source.form == "openai" and (wish.model or wish.max_tokens):
        raise UsageError(
            f"--model and --max-tokens are for plain lists; {source.path} is in OpenAI's batch "
            "format, where each body has its own"
        )
    written = {wish.out.resolve(), errors_path(wish.out).resolve(), claim_path(wish.out).resolve()}
    if source.path.resolve() in written:
        raise UsageError(f"{wish.out}: would be written over the input; name another output")
