"""Kind `compare`: all members' answers side by side. Times and costs stand in the trace."""

from __future__ import annotations

from common.ensembles_config import CompareConfig
from router.ensembles.ask import Request
from router.ensembles.panel import Call
from router.ensembles.run import Outcome, Run


async def compare(run: Run, request: Request) -> Outcome:
    spec = run.spec(CompareConfig)
    panel = await run.panel([Call(member, request) for member in run.members])
    run.require(panel, spec.quorum)
    return Outcome(panel.voices)
