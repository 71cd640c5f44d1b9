"""How sure a model was of an answer: by its tokens' log-probabilities, or by asking it."""

from __future__ import annotations

import re
from math import fsum

from router.ensembles.ask import Choice, Request

_ASKED = "Is the answer above correct? Check it once more, then say only yes or no."
# A model keeps to the language of the conversation, so both are read.
_YES = re.compile(r"\W*(?:yes|correct|true|네|예|맞)", re.IGNORECASE)
_NO = re.compile(r"\W*(?:no\b|not\b|incorrect|false|아니|틀)", re.IGNORECASE)
_CHECK_TOKENS = 8


def mean_logprob(choice: Choice) -> float | None:
    """Nats a token; None where the engine gave none."""
    values = [token.logprob for token in choice.logprobs]
    return fsum(values) / len(values) if values else None


def margin(choice: Choice) -> float | None:
    """Mean lead of the taken token over the likeliest other one, in nats."""
    leads = [t.logprob - t.runner_up for t in choice.logprobs if t.runner_up is not None]
    return fsum(leads) / len(leads) if leads else None


def check_of(request: Request, answer: str) -> Request:
    """The question to a model whether its answer holds."""
    said = ({"role": "assistant", "content": answer}, {"role": "user", "content": _ASKED})
    check = request.saying((*request.messages, *said), temperature=0, response_format=None)
    return check.limited(_CHECK_TOKENS)


def says_yes(text: str) -> bool:
    """Anything but a plain yes is a no."""
    return bool(_YES.match(text)) and not _NO.match(text)
