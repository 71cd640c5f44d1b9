"""Kind `vote`: the answer that most give. One model's samples go out as one request, so that its
engine reads the prompt once."""

from __future__ import annotations

from collections.abc import Sequence

from common.ensembles_config import VoteConfig
from router.ensembles.ask import Member, Request
from router.ensembles.extraction import extract, wrong_answers
from router.ensembles.panel import Call, Panel, Voice
from router.ensembles.rule import Rule
from router.ensembles.run import Outcome, Run
from router.ensembles.tally import Ballot, count, fewest_to_settle, is_settled, ranks_of, weights_of


class Scale:
    """What each member's vote weighs, and whose wins a tie."""

    def __init__(self, members: Sequence[Member], spec: VoteConfig, question: str) -> None:
        by_record = spec.weights == "record"
        records = [member.record for member in members]
        weights = weights_of(
            records if by_record else [None] * len(records), wrong_answers(spec.extract)
        )
        models = [member.model for member in members]
        self.weights = dict(zip(models, weights, strict=True))
        self._ranks = dict(zip(models, ranks_of(records), strict=True))
        self._how, self._question = spec.extract, question

    def ballot(self, voice: Voice) -> Ballot:
        choice, model = voice.choice, voice.member.model
        answer = extract(choice.text, self._how, question=self._question, is_cut=choice.is_cut)
        return Ballot(answer, self.weights[model], self._ranks[model])

    def abstentions(self, missing: Sequence[Member]) -> list[Ballot]:
        """Who failed makes the outcome less sure; who was not needed does not."""
        return [Ballot(None, self.weights[member.model]) for member in missing]

    def ballots(self, voices: Sequence[Voice]) -> list[Ballot]:
        return [self.ballot(voice) for voice in voices]


async def vote(run: Run, request: Request) -> Outcome:
    spec = run.spec(VoteConfig)
    scale = Scale(run.members, spec, request.question)
    ask = _in_rounds if spec.adaptive else _at_once
    panel = await ask(run, request, spec, scale)
    run.require(panel, spec.quorum)
    voices = panel.voices
    tally = count([*scale.ballots(voices), *scale.abstentions(panel.missing)])
    run.told.votes = dict(tally.groups)
    if tally.winner is None:  # nobody said anything that can be counted
        return Outcome((_of_best(voices, scale),), 0.0)
    return Outcome((voices[tally.winner],), tally.share)


async def _at_once(run: Run, request: Request, spec: VoteConfig, scale: Scale) -> Panel:
    def settled(panel: Panel) -> bool:
        to_come = [scale.weights[member.model] for member in panel.outstanding]
        return is_settled(scale.ballots(panel.voices), to_come)

    sampled = request.sampled(spec.of_each, spec.sampling)
    return await run.panel([Call(member, sampled) for member in run.members], settled=settled)


async def _in_rounds(run: Run, request: Request, spec: VoteConfig, scale: Scale) -> Panel:
    """Stops as soon as the samples that were not asked for could not change the winner."""
    (member,) = run.members
    weight = scale.weights[member.model]
    rule = Rule(fail_fast=spec.on_error == "fail")
    heard, left, wanted = Panel(), spec.of_each, spec.of_each // 2 + 1
    while True:
        sampled = request.sampled(wanted, spec.sampling)
        panel = await run.panel([Call(member, sampled)], phase="round", rule=rule)
        heard, left = heard.then(panel), left - wanted
        if panel.failures or panel.outstanding or not left:
            return heard
        ballots = scale.ballots(heard.voices)
        if len(ballots) >= spec.quorum and is_settled(ballots, [weight] * left):
            return heard
        wanted = fewest_to_settle([Ballot(ballot.answer) for ballot in ballots], left)


def _of_best(voices: Sequence[Voice], scale: Scale) -> Voice:
    return min(voices, key=lambda voice: scale.ballot(voice).rank)
