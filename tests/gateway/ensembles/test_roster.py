"""What is known of members: records that are no guesses, and who shares a GPU."""

from __future__ import annotations

import pytest

from common.quality_config import ModelQuality
from gateway.ensembles.roster import record_of, roster_of, turns_of
from router.catalog.profile import profile
from router.policies import POLICIES
from router.replicas import Lane, Replica


def lane(model: str, *places: tuple[str, ...]) -> Lane:
    replicas = [Replica(f"{model}-{i}", model, 8, gpu_ids=gpus) for i, gpus in enumerate(places)]
    return Lane(model, replicas, POLICIES["round_robin"](), max_queued=1, queue_timeout_s=1)


@pytest.mark.parametrize(
    ("lanes", "together"),
    [
        ([("a", ("0",)), ("b", ("1",))], []),
        ([("a", ("0",)), ("b", ("0",)), ("c", ("1",))], ["a", "b"]),
        ([("a", ("0", "1")), ("b", ("1",)), ("c", ("0",))], ["a", "b", "c"]),
        ([("a", ()), ("b", ())], []),
        ([("a", ("0",), ("1",)), ("b", ("0",))], []),
    ],
    ids=["apart", "two share", "one over both", "no GPU", "replicas elsewhere"],
)
def test_members_on_one_gpu_take_turns(
    lanes: list[tuple[str, tuple[str, ...]]], together: list[str]
) -> None:
    turns = turns_of([lane(model, *places) for model, *places in lanes])
    assert sorted(turns) == together
    assert len(set(turns.values())) == (1 if together else 0)


def test_names_of_one_model_share_its_engine_and_do_not_wait() -> None:
    one = lane("a", ("0",))
    assert turns_of([one, one]) == {}


def test_a_guess_by_size_is_no_record() -> None:
    known = profile("llama-3.1-8b", config=ModelQuality(quality={"math": 0.8}))
    assert record_of(known, "math", None) == 0.8
    unknown = profile("nobody-knows-it")
    assert record_of(unknown, "math", None) is None


def test_the_roster_is_by_the_name_that_was_used() -> None:
    profiles = {"a": profile("a", config=ModelQuality(quality={"math": 0.8}))}
    roster = roster_of({"alias": lane("a", ())}, profiles, "math")
    assert roster["alias"].model == "alias"
    assert roster["alias"].record == 0.8
