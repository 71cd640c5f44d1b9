"""The tree against a plain list of what was inserted; and the size as the engine corrects it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.call import TOKENS_PER_BLOCK
from router.prefixes import CacheModel, PrefixTree
from tests.router.policies.loads import chain, chains

Blocks = tuple[int, ...]
inserted = st.lists(chains, max_size=20)


def shared(one: Blocks, two: Blocks) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )


@given(seen=inserted, asked=chains, capacity=st.integers(1, 12))
def test_it_stays_within_its_size_and_knows_only_what_was_inserted(
    seen: list[Blocks], asked: Blocks, capacity: int
) -> None:
    tree = PrefixTree(capacity)
    for blocks in seen:
        tree.insert(blocks)
        assert len(tree) <= capacity
        assert tree.match(blocks) == min(len(blocks), capacity)
    assert tree.match(asked) <= max((shared(blocks, asked) for blocks in seen), default=0)


@given(seen=inserted, asked=chains)
def test_with_room_it_knows_all_that_was_inserted(seen: list[Blocks], asked: Blocks) -> None:
    tree = PrefixTree(1000)
    for blocks in seen:
        tree.insert(blocks)
    assert tree.match(asked) == max((shared(blocks, asked) for blocks in seen), default=0)
    assert len(tree) == len({block for blocks in seen for block in blocks})


@given(seen=inserted, capacity=st.integers(1, 12), later=st.integers(1, 12))
def test_a_block_is_there_only_with_those_before_it(
    seen: list[Blocks], capacity: int, later: int
) -> None:
    tree = PrefixTree(capacity)
    for blocks in seen:
        tree.insert(blocks)
    tree.resize(later)
    assert len(tree) <= later
    for blocks in seen:
        there = [tree.match(blocks[: n + 1]) == n + 1 for n in range(len(blocks))]
        assert there == sorted(there, reverse=True)


@given(seen=inserted, asked=chains)
def test_what_is_cleared_is_gone(seen: list[Blocks], asked: Blocks) -> None:
    tree = PrefixTree(1000)
    for blocks in seen:
        tree.insert(blocks)
    tree.clear()
    assert (len(tree), tree.match(asked)) == (0, 0)


def test_the_ends_of_the_oldest_go_first() -> None:
    tree = PrefixTree(6)
    tree.insert(chain(1, 2, 3))
    tree.insert(chain(4, 5, 6))
    tree.insert(chain(1, 2, 7))
    assert tree.match(chain(4, 5, 6)) == 3
    assert tree.match(chain(1, 2, 3)) == 2
    assert tree.match(chain(1, 2, 7)) == 3
    tree.insert(chain(8))
    assert tree.match(chain(4, 5, 6)) == 2


def test_an_end_is_where_one_prompt_ended_and_no_other_came_by() -> None:
    tree = PrefixTree(100)
    talk, more = chain(1, 2), chain(1, 2, 3)
    tree.insert(talk)
    assert (tree.is_end(talk[0]), tree.is_end(talk[1])) == (False, True)
    tree.insert(more)
    assert (tree.is_end(talk[1]), tree.is_end(more[2])) == (False, True)
    tree.insert(more)
    assert not tree.is_end(more[2])
    assert not tree.is_end(chain(9)[0])


# The engine's word


def used(capacity: int, prompts: int = 20) -> CacheModel:
    cache = CacheModel(capacity)
    for _ in range(2):
        used_again(cache, prompts)
    return cache


def used_again(cache: CacheModel, prompts: int = 20) -> None:
    for prompt in range(prompts):
        cache.took(chain(*range(prompt * 100, prompt * 100 + 20)))


def test_an_engine_that_finds_less_has_less_room_than_was_believed() -> None:
    cache = used(1000)  # half of all blocks were asked for before
    cache.observe(0.1)
    assert cache.tree.capacity == 500
    assert len(cache.tree) <= 500


def test_one_that_finds_about_as_much_is_left_alone() -> None:
    cache = used(1000)
    cache.observe(0.45)
    assert cache.tree.capacity == 1000


def test_one_that_finds_more_is_given_more_room_up_to_what_it_has() -> None:
    cache = used(40)  # far too small: nothing was found
    for _ in range(20):
        for prompt in range(20):
            cache.took(chain(*range(prompt * 10, prompt * 10 + 5)))
        cache.observe(0.9)
    assert cache.tree.capacity > 100
    assert cache.tree.match(chain(*range(5))) == 5
    cache.provision(50 * TOKENS_PER_BLOCK)
    assert cache.tree.capacity == 50
    cache.took(chain(*range(5000, 5080)))
    cache.observe(1.0)
    assert cache.tree.capacity == 50


def test_too_little_said_is_kept_for_later() -> None:
    cache = CacheModel(1000)
    for _ in range(10):
        cache.took(chain(1, 2, 3, 4, 5))
        cache.observe(0.0)
    assert cache.tree.capacity == 1000
    for _ in range(5):
        cache.took(chain(1, 2, 3, 4, 5))
    cache.observe(0.0)
    assert cache.tree.capacity == 500


def test_the_size_told_again_leaves_what_was_learned() -> None:
    cache = CacheModel()
    cache.provision(1000 * TOKENS_PER_BLOCK)
    for _ in range(2):
        used_again(cache)
    cache.observe(0.0)
    assert cache.tree.capacity == 500
    cache.provision(1000 * TOKENS_PER_BLOCK)
    assert cache.tree.capacity == 500


def test_a_size_that_happens_to_be_the_first_guesss_limit_counts() -> None:
    cache = CacheModel(1000)
    cache.provision(8000 * TOKENS_PER_BLOCK)
    assert cache.tree.capacity == 8000


def test_an_engine_that_keeps_no_prefixes_is_expected_to_find_none() -> None:
    cache = used(1000)
    cache.provision(0)
    assert (len(cache.tree), cache.took(chain(1, 2)), cache.took(chain(1, 2))) == (0, 0, 0)
    for share in (0.0, 1.0):
        used_again(cache)
        cache.observe(share)
        assert cache.tree.capacity == 0


def test_short_prompts_do_not_make_an_engine_look_forgetful() -> None:
    """Of prompts of one block the engine sees twice as much, and finds half of that."""
    cache = CacheModel(1000)
    for _ in range(200):
        cache.took(chain(1))
    cache.observe(0.5)
    assert cache.tree.capacity == 1000
    for _ in range(200):
        cache.took(chain(*range(30)))
    cache.observe(0.5)
    assert cache.tree.capacity < 1000


@given(
    seen=st.lists(st.tuples(st.lists(chains, max_size=30), st.floats(0.0, 1.0)), max_size=20),
    kv_tokens=st.none() | st.integers(0, 5000),
)
def test_whatever_is_observed_it_never_believes_in_more_than_there_is(
    seen: list[tuple[list[Blocks], float]], kv_tokens: int | None
) -> None:
    cache, most = CacheModel(20), 8 * 20
    if kv_tokens is not None:
        cache.provision(kv_tokens)
        most = kv_tokens // TOKENS_PER_BLOCK
    for prompts, share in seen:
        for blocks in prompts:
            assert 0 <= cache.took(blocks) <= len(blocks)
        cache.observe(share)
        assert min(1, most) <= cache.tree.capacity <= most
        assert len(cache.tree) <= cache.tree.capacity


def test_a_restart_empties_it_and_what_it_expected() -> None:
    cache = used(1000)
    cache.forget()
    assert len(cache.tree) == 0
    cache.observe(0.0)
    assert cache.tree.capacity == 1000
