"""Threads that come at the same time share one flush."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.together import Together


def test_who_comes_during_a_flush_shares_the_next_one() -> None:
    groups: list[list[int]] = []
    first_began, go_on = threading.Event(), threading.Event()

    def flush(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        first_began.set()
        go_on.wait(5)
        return [item * 10 for item in items]

    together: Together[int, int] = Together(flush)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(together.do, 0)
        assert first_began.wait(5)
        others = [pool.submit(together.do, number) for number in range(1, 9)]
        while len(together._waiting) < 8:
            pass
        go_on.set()
        assert first.result(5) == 0
        assert [other.result(5) for other in others] == [number * 10 for number in range(1, 9)]
    assert [sorted(group) for group in groups] == [[0], list(range(1, 9))]


def test_who_comes_soon_after_a_flush_waits_for_a_crowd_and_who_comes_first_for_nobody() -> None:
    groups: list[list[int]] = []

    def flush(items: Sequence[int]) -> list[int]:
        groups.append(sorted(items))
        return list(items)

    together: Together[int, int] = Together(flush, crowd=3, patience=60)
    assert together.do(0) == 0
    with ThreadPoolExecutor(3) as pool:
        assert [answer.result(5) for answer in [pool.submit(together.do, number) for number in (1, 2, 3)]] == [1, 2, 3]
    assert groups == [[0], [1, 2, 3]]


def test_where_no_crowd_comes_patience_ends() -> None:
    together: Together[int, int] = Together(list, crowd=3, patience=0.01)
    assert [together.do(number) for number in range(3)] == [0, 1, 2]


def test_everyone_gets_an_own_answer_under_a_crowd() -> None:
    together: Together[int, int] = Together(lambda items: [item + 1 for item in items], crowd=5, patience=0.001)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(together.do, range(5_000))) == list(range(1, 5_001))


def test_an_error_of_a_flush_reaches_everyone_in_it_and_nobody_after() -> None:
    fail = [True]

    def flush(items: Sequence[int]) -> list[int]:
        if fail.pop() if fail else False:
            raise OSError("away")
        return list(items)

    together: Together[int, int] = Together(flush)
    with pytest.raises(OSError, match="away"):
        together.do(1)
    assert together.do(2) == 2
