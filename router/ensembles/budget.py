"""What one ensemble may cost. Every call is granted its share before it starts, so that the sum
cannot go past the budget, however the calls overlap."""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.ensembles.ask import Request

# Fewer are no answer; a request that itself asks for fewer gets them.
_FEWEST_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Grant:
    """A request that may be sent, its `max_tokens` cut where that was needed."""

    request: Request
    tokens: int | None  # held back for it, prompt included; None without a limit

    @property
    def output_tokens(self) -> int | None:
        """All its samples may have so many."""
        if self.request.max_tokens is None:
            return None
        return self.request.max_tokens * self.request.samples


@dataclass(slots=True)
class Budget:
    """`requests` counts answers: a call of n samples counts n."""

    requests: int
    tokens: int | None = None
    asked: int = 0
    spent: int = 0
    held: int = 0

    def grant(self, request: Request) -> Grant | None:
        """None when it cannot be afforded. What is granted must be settled."""
        left = self.requests - self.asked
        if request.samples > left:
            return None
        if self.tokens is None:
            self.asked += request.samples
            return Grant(request, None)
        most = self._share(request, left)
        wanted = request.max_tokens if request.max_tokens is not None else most
        if most < min(_FEWEST_TOKENS, wanted) or most < 1:
            return None
        granted = replace(request, max_tokens=min(most, wanted))
        return self._hold(granted, min(most, wanted))

    def settle(self, grant: Grant, used_tokens: int) -> None:
        self.held -= grant.tokens or 0
        self.spent += used_tokens

    def _share(self, request: Request, left: int) -> int:
        """Output tokens of one sample, if all answers that may still come get the same."""
        assert self.tokens is not None
        free = max(0, self.tokens - self.spent - self.held)
        share = free * request.samples // left
        return (share - request.prompt_tokens) // request.samples

    def _hold(self, request: Request, each: int) -> Grant:
        tokens = request.prompt_tokens + each * request.samples
        self.asked += request.samples
        self.held += tokens
        return Grant(request, tokens)
