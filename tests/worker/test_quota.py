"""Quotas: how many calls are let through, by which of several limits, and how long to wait; on a real Redis."""

from datetime import timedelta

import pytest
import redis

from tests.conftest import FrozenClock
from worker.quota import Bucket, Quota

USER, PROJECT = Bucket("user", 480, 120), Bucket("project", 60, 40)


@pytest.fixture
def quota(redis_url: str, clock: FrozenClock) -> Quota:
    return Quota(redis.Redis.from_url(redis_url), clock=lambda: clock().timestamp())


def test_a_full_bucket_gives_its_burst_and_then_its_rate(quota: Quota, clock: FrozenClock) -> None:
    assert quota.take([USER], 200) == (120, timedelta(0))
    assert quota.take([USER], 8, least=8) == (0, timedelta(seconds=1))

    clock.tick(1)

    assert quota.take([USER], 50, least=8) == (8, timedelta(0))


def test_the_narrowest_of_several_decides_and_all_are_charged(quota: Quota) -> None:
    assert quota.take([USER, PROJECT], 100)[0] == 40
    assert quota.take([USER], 100)[0] == 80


def test_less_than_is_worth_sending_is_not_given(quota: Quota, clock: FrozenClock) -> None:
    quota.take([USER], 110)

    assert quota.take([USER], 50, least=25) == (0, timedelta(seconds=15 / 8))
    assert quota.take([USER], 5, least=25) == (5, timedelta(0))  # all that is wanted is worth it


def test_no_minute_sees_more_than_is_allowed(quota: Quota, clock: FrozenClock) -> None:
    start, sent = clock(), []
    while clock() < start + timedelta(minutes=5):
        granted, wait = quota.take([USER], 50, least=25)
        sent += [clock()] * granted
        clock.tick(max(wait.total_seconds(), 0.05))

    minutes = [[at for at in sent if begin <= at < begin + timedelta(minutes=1)] for begin in sent[::50]]
    assert max(map(len, minutes)) <= 600
    assert len(sent) >= 480 * 5 * 0.95


def test_a_clock_that_goes_back_takes_nothing_away(quota: Quota, clock: FrozenClock) -> None:
    quota.take([USER], 60)
    clock.tick(-3600)

    assert quota.take([USER], 60)[0] == 60


def test_what_was_not_used_can_be_given_back_and_no_more_than_is_held(quota: Quota) -> None:
    quota.take([USER, PROJECT], 40)
    quota.give_back(PROJECT, 25)

    assert quota.take([PROJECT], 100)[0] == 25

    quota.give_back(PROJECT, 500)

    assert quota.take([PROJECT], 100)[0] == 40
    assert quota.take([USER], 100)[0] == 80


def test_without_a_limit_everything_is_let_through(quota: Quota) -> None:
    assert quota.take([], 5_000) == (5_000, timedelta(0))


def test_a_bucket_that_is_shut_gives_nothing_until_then(quota: Quota, clock: FrozenClock) -> None:
    quota.take([USER], 10)
    quota.shut(USER, timedelta(hours=3))
    clock.tick(3600)

    assert quota.take([PROJECT, USER], 5) == (0, timedelta(hours=2))
    assert quota.take([PROJECT], 40)[0] == 40

    clock.tick(7200)

    assert quota.take([USER], 5) == (5, timedelta(0))
