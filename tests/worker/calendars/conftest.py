"""A diary of acme's, at a Google whose notices are kept."""

from typing import Any

import pytest

from integrations.simulator.seed import ACME_ACCOUNT
from tests.conftest import Company
from tests.worker.calendars.diary import Diary
from tests.worker.outside import Outside
from worker.services import Services


@pytest.fixture
def notices(outside: Outside) -> list[Any]:
    """What Google would post, kept instead."""
    kept: list[Any] = []
    outside.google.calendars.notify = kept.append
    return kept


@pytest.fixture
def diary(outside: Outside, troth: Services, acme: Company, notices: list[Any]) -> Diary:
    return Diary(troth, outside.google, acme, outside.bring(acme, ACME_ACCOUNT))
