"""The pool of blocks against a model of it, under random use."""

import random

from gptpy.inference.blocks import NO_CLAIM, BlockPool, digests


def test_digests_depend_on_everything_before():
    ids = list(range(40))
    found = digests(ids, 16)
    assert len(found) == 2 and digests(ids[:31], 16) == found[:1] and digests(ids[:15], 16) == []
    assert digests([9, *ids[1:]], 16)[1] != found[1]
    assert digests(ids, 16, b"root")[0] != found[0]
    assert digests(ids[16:32], 16, found[0]) == [found[1]]
    assert digests([-1, 2**40], 2) != digests([1, 2**40], 2)


def test_idle_blocks_keep_their_contents_until_they_are_needed():
    pool = BlockPool(5)
    a, b = pool.take(2)
    pool.name(a, b"a")
    pool.name(b, b"b")
    pool.release([a, b])
    assert pool.available == 4 and pool.held == 0 and pool.find(b"a") == a
    pool.share(a)
    assert pool.available == 3
    pool.release([a])
    pool.take(3)  # two that were free and the one used least recently
    assert pool.find(b"b") is None and pool.find(b"a") == a
    pool.take(1)
    assert pool.find(b"a") is None and pool.available == 0


def test_the_end_of_a_text_goes_before_its_beginning():
    pool = BlockPool(4)
    blocks = pool.take(3)
    for number, block in enumerate(blocks):
        pool.name(block, bytes([number]))
    pool.release(blocks)
    pool.take(1)
    assert [pool.find(bytes([n])) is not None for n in range(3)] == [True, True, False]


def test_tainted_blocks_are_not_found_and_cleared_when_the_last_holder_leaves():
    pool = BlockPool(3)
    [a] = pool.take(1)
    pool.name(a, b"a")
    pool.share(a)
    assert pool.release([a], tainted=True) == [] and pool.find(b"a") is None
    pool.name(a, b"a")
    assert pool.find(b"a") is None and pool.release([a]) == [a] and pool.available == 2
    [b] = pool.take(1)
    pool.name(b, b"b")
    pool.release([b])
    pool.clear()
    assert pool.find(b"b") is None and pool.available == 2


def test_claims_keep_texts_side_by_side():
    pool = BlockPool(21)
    a, b = pool.claim(6), pool.claim(8, 2)
    assert (a, b) == (range(1, 7), range(7, 15)) and pool.available == 20 and pool.held == 0
    first, second = pool.take(2, a), pool.take(1, b)
    assert (first, second) == ([1, 2], [7])
    assert pool.take(1) == [15]  # not what others have claimed
    assert pool.take(3, a) == [3, 4, 5]
    assert pool.claim(9, 5) == range(16, 21)  # as many as are needed at once
    assert pool.claim(2, 2) == NO_CLAIM
    # Nothing else is left: claimed blocks are taken, and their text goes on elsewhere.
    others = pool.take(13)
    assert len(set(others)) == 13 and pool.available == 0
    pool.release(others)
    pool.unclaim(b)
    assert sorted(pool.take(13)) == sorted(others)


def test_what_a_text_has_claimed_and_not_taken_is_free_again():
    pool = BlockPool(9)
    claim = pool.claim(8)
    taken = pool.take(3, claim)
    assert pool.claim(1) == NO_CLAIM
    pool.unclaim(claim)
    assert pool.claim(5) == range(4, 9)
    pool.release(taken)
    assert pool.claim(3) == range(1, 4)


def test_random_use_loses_nothing():
    draw, pool, held = random.Random(0), BlockPool(12), []
    claims = []
    for step in range(3000):
        action = draw.randrange(6)
        if action == 0 and pool.available:
            claim = draw.choice([NO_CLAIM, *claims])
            held.append(pool.take(draw.randint(1, pool.available), claim))
            assert len(set(held[-1])) == len(held[-1]) and 0 not in held[-1]
        elif action == 1 and held:
            pool.release(held.pop(draw.randrange(len(held))), tainted=draw.random() < 0.1)
        elif action == 2 and held:
            block = draw.choice(held)[0]
            pool.share(block)
            held.append([block])
        elif action == 3 and held:
            pool.name(draw.choice(held)[0], bytes([step % 7]))
            found = pool.find(bytes([draw.randrange(7)]))
            if found is not None and draw.random() < 0.5:
                pool.share(found)
                held.append([found])
        elif action == 4:
            claims.append(pool.claim(draw.randint(1, 12), draw.randint(1, 3)))
        elif action == 5 and claims:
            pool.unclaim(claims.pop(draw.randrange(len(claims))))
        assert pool.held == len({block for blocks in held for block in blocks})
        assert pool.available + pool.held == 11
    for blocks in held:
        pool.release(blocks)
    assert pool.held == 0 and sorted(pool.take(11)) == list(range(1, 12))
