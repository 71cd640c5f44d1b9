"""What voting and agreement would have given on answers that were recorded elsewhere.

Reads JSON lines `{"question": id, "model": name, "answer": text or null, "correct": bool}`; it asks
no model. The counting is the router's own (router/ensembles/tally.py). With `--gsm8k` it reads the
example_model_solutions.jsonl of https://github.com/openai/grade-school-math, which is not shipped.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from router.ensembles.extraction import extract
from router.ensembles.tally import WRONG_NUMBERS, Ballot, agreed, count, ranks_of, weights_of

_GSM8K_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
_GSM8K_ANSWER = re.compile(r"^(?:A:|####)\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recorded:
    """`answer`: as it is compared; None abstains."""

    answer: str | None
    correct: bool


# Of one question, by model.
Question = Mapping[str, Recorded]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    n: int
    of: int

    @property
    def percent(self) -> float | None:
        return 100 * self.n / self.of if self.of else None

    def __str__(self) -> str:
        shown = "-" if self.percent is None else f"{self.percent:.1f} %"
        return f"{shown} ({self.n} of {self.of})"


@dataclass(frozen=True, slots=True)
class Replay:
    """Shares of questions that are right. The records that weigh votes are those of the very same
    questions, so `weighted` is the best that weighing could have given, not what it will give."""

    by_model: Mapping[str, Share]
    best: str
    majority: Share
    majority_without_best: Share
    weighted: Share
    oracle: Share
    top_two: tuple[str, str]
    top_two_agree: Share
    right_when_they_agree: Share
    best_right_when_not: Share
    cascade: Share | None = None  # second and third best start, the best is asked otherwise
    cascade_escalated: Share | None = None


def read(lines: Iterable[str]) -> list[Question]:
    """Raises ValueError for a line that is none, or a model that left a question out."""
    questions: dict[str, dict[str, Recorded]] = {}
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            recorded = Recorded(_comparable(row["answer"]), bool(row["correct"]))
            questions.setdefault(str(row["question"]), {})[str(row["model"])] = recorded
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"line {i}: not a recorded answer: {error!r}") from None
    models = {model for question in questions.values() for model in question}
    for name, question in questions.items():
        if missing := models - question.keys():
            raise ValueError(f"question {name!r}: no answer of {min(missing)!r}")
    if len(models) < 2:
        raise ValueError("needs recorded answers of at least two models")
    return list(questions.values())


def of_gsm8k(lines: Iterable[str]) -> Iterator[str]:
    """That file's rows as our lines. A solution that was cut before its answer abstains."""
    for i, line in enumerate(lines):
        row: dict[str, Any] = json.loads(line)
        for model in _GSM8K_MODELS:
            said = _GSM8K_ANSWER.findall(row[model]["solution"])
            answer = said[-1] if said else None
            correct = row[model]["is_correct"]
            yield json.dumps({"question": i, "model": model, "answer": answer, "correct": correct})


def replay(questions: Sequence[Question]) -> Replay:
    by_model = {model: _right(questions, model) for model in questions[0]}
    order = sorted(by_model, key=lambda model: -by_model[model].n)
    best, second = order[:2]
    top_two = (best, second)
    alike = [q for q in questions if _agree(q, top_two)]
    unlike = [q for q in questions if not _agree(q, top_two)]
    records = {model: share.n / share.of for model, share in by_model.items()}
    found = Replay(
        by_model,
        best,
        majority=_share(questions, lambda q: _voted(q, order, records)),
        majority_without_best=_share(questions, lambda q: _voted(q, order[1:], records)),
        weighted=_share(questions, lambda q: _voted(q, order, records, weighted=True)),
        oracle=_share(questions, lambda q: any(each.correct for each in q.values())),
        top_two=top_two,
        top_two_agree=Share(len(alike), len(questions)),
        right_when_they_agree=_right(alike, best),
        best_right_when_not=_right(unlike, best),
    )
    return found if len(order) < 3 else _with_cascade(found, questions, order)


def _with_cascade(found: Replay, questions: Sequence[Question], order: Sequence[str]) -> Replay:
    best, second, third = order[:3]
    starters = (third, second)
    return Replay(
        **{name: getattr(found, name) for name in Replay.__slots__ if "cascade" not in name},
        cascade=_share(questions, lambda q: q[third if _agree(q, starters) else best].correct),
        cascade_escalated=_share(questions, lambda q: not _agree(q, starters)),
    )


def _voted(
    question: Question,
    models: Sequence[str],
    records: Mapping[str, float],
    *,
    weighted: bool = False,
) -> bool:
    """Is the elected answer right? Ties go to the best model's."""
    known = [records[model] for model in models]
    weights = weights_of(known if weighted else [None] * len(models), WRONG_NUMBERS)
    ballots = [
        Ballot(question[model].answer, weight, rank)
        for model, weight, rank in zip(models, weights, ranks_of(known), strict=True)
    ]
    winner = count(ballots).winner
    return winner is not None and question[models[winner]].correct


def _agree(question: Question, models: Sequence[str]) -> bool:
    return agreed([question[model].answer for model in models], len(models))


def _share(questions: Sequence[Question], is_right: Callable[[Question], bool]) -> Share:
    return Share(sum(is_right(question) for question in questions), len(questions))


def _right(questions: Sequence[Question], model: str) -> Share:
    return _share(questions, lambda question: question[model].correct)


def _comparable(answer: Any) -> str | None:
    return None if answer is None else extract(str(answer))


def table(found: Replay) -> str:
    rows = [*((model, share) for model, share in found.by_model.items())]
    rows += [
        ("majority", found.majority),
        (f"majority without {found.best}", found.majority_without_best),
        ("weighted by record", found.weighted),
        ("any of them right", found.oracle),
        (f"{' and '.join(found.top_two)} agree", found.top_two_agree),
        ("  right then", found.right_when_they_agree),
        ("  best right otherwise", found.best_right_when_not),
    ]
    if found.cascade and found.cascade_escalated:
        rows += [
            (f"cascade of second and third to {found.best}", found.cascade),
            ("  escalated", found.cascade_escalated),
        ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {share}" for name, share in rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path)
    parser.add_argument("--gsm8k", action="store_true", help="the file is that dataset's own")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    lines = args.file.read_text(encoding="utf-8").splitlines()
    found = replay(read(of_gsm8k(lines) if args.gsm8k else lines))
    print(json.dumps(asdict(found), indent=2) if args.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
