from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.webhook import Retry
from pybroker.webhook.backend import Verdict
from pybroker.webhook.delivery.retry import Breaker, backoff
from pybroker.webhook.http.answers import retry_after, verdict


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (301, Verdict.DEAD),
        (304, Verdict.DEAD),
        (400, Verdict.DEAD),
        (401, Verdict.DEAD),
        (404, Verdict.DEAD),
        (408, Verdict.RETRY),
        (410, Verdict.DISABLE),
        (422, Verdict.DEAD),
        (425, Verdict.RETRY),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),
        (599, Verdict.RETRY),
    ],
)
def test_what_an_answer_means(status: int, wanted: Verdict) -> None:
    assert verdict(status) is wanted


def test_the_backoff_doubles_up_to_its_limit() -> None:
    retry = Retry(first=1, max=10)
    assert [backoff(n, retry, lambda: 1.0) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 4, 8, 10, 10]
    assert backoff(4, retry, lambda: 0.25) == 2
    assert backoff(10_000, retry, lambda: 1.0) == 10


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_backoff_is_never_out_of_bounds(failures: int, random: float) -> None:
    assert 0 <= backoff(failures, Retry(first=0.5, max=60), lambda: random) <= 60


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 19.0),
        ("Fri, 31 Dec 1999 23:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\N{SUPERSCRIPT TWO}", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after_in_both_forms(value: str | None, wanted: float | None) -> None:
    assert retry_after(value, now=946684780.0) == wanted


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(3)
    for _ in range(2):
        assert not breaker.failed(breaker.start(), 10)
    breaker.succeeded()
    assert [breaker.failed(breaker.start(), 10) for _ in range(3)] == [False, False, True]
    assert breaker.open
    assert not breaker.allows(9.9)
    assert breaker.allows(10)


def test_one_probe_at_a_time() -> None:
    breaker = Breaker(1)
    breaker.failed(breaker.start(), 10)
    assert breaker.start()
    assert not breaker.allows(11)
    breaker.failed(False, 99)  # one that had started before does not matter
    breaker.failed(True, 20)
    assert (breaker.allows(19), breaker.allows(20)) == (False, True)
    assert breaker.start()
    breaker.abandoned(True)
    assert breaker.allows(20)
    assert breaker.start()
    breaker.succeeded()
    assert not breaker.open
    assert breaker.allows(0)
