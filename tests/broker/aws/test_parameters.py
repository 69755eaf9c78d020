"""Secrets in SSM: one call for all of them, and its repetitions while SSM throttles."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.aws import clients, secrets
from chalicelib.aws.secrets import ATTEMPTS, ATTEMPTS_SECONDS, Parameters
from chalicelib.core.errors import SecretsUnavailable
from tests.support.clocks import ManualClock
from tests.support.throttling_ssm import ThrottlingSsm

VALUES = {"/a/key": "the-key", "/a/secret": "the-secret"}


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], ThrottlingSsm]]:
    """A function that starts an SSM which throttles some calls first."""
    started: list[ThrottlingSsm] = []

    def start(refused: int) -> ThrottlingSsm:
        made = ThrottlingSsm(VALUES, lambda: len(made.calls) > refused and not made.refuses)
        started.append(made)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", made.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        clients.session.cache_clear()
        clients.ssm.cache_clear()
        return made

    yield start
    for one in started:
        one.stop()
    clients.session.cache_clear()
    clients.ssm.cache_clear()


class CountedClock(ManualClock):
    """A clock that remembers how long it slept."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.slept.append(seconds)
        super().sleep(seconds)


def both(clock: ManualClock) -> list[secrets.CachedSecret]:
    """Return both secrets of a new container."""
    stored = Parameters(clients.ssm, list(VALUES), clock)
    return [stored.secret(name, str) for name in VALUES]


def test_one_call_reads_all_secrets(ssm: Callable[[int], ThrottlingSsm]) -> None:
    """A container reads its secrets by one call, and again by one call some minutes later."""
    server, clock = ssm(0), CountedClock()
    stored = both(clock)
    assert [one.current() for one in stored] == list(VALUES.values())
    assert server.calls == [list(VALUES)]
    clock.advance(secrets.KEEP_SECONDS + 1)
    assert [one.current() for one in stored] == list(VALUES.values())
    assert server.calls == [list(VALUES)] * 2
    assert clock.slept == []


def test_refused_secret_is_not_taken_from_old_call(ssm: Callable[[int], ThrottlingSsm]) -> None:
    """A secret that was refused is read by a new call, although another one's call had it too."""
    server, clock = ssm(0), ManualClock()
    key, secret = both(clock)
    key.current()
    clock.advance(secrets.SHARE_SECONDS + 0.1)
    secret.current()
    assert len(server.calls) == 2


def test_throttled_call_is_repeated(ssm: Callable[[int], ThrottlingSsm]) -> None:
    """A throttled call is repeated four times, with random pauses, within five seconds."""
    server, pauses = ssm(ATTEMPTS - 1), []
    for _ in range(10):
        server.calls.clear()
        clock = CountedClock()
        key, _ = both(clock)
        assert key.current() == "the-key"
        assert len(clock.slept) == ATTEMPTS - 1
        assert sum(clock.slept) <= ATTEMPTS_SECONDS
        pauses += clock.slept
    assert len(set(pauses)) == len(pauses)


def test_throttling_ends_in_503(ssm: Callable[[int], ThrottlingSsm]) -> None:
    """If five calls are throttled, the secret is unavailable, and each caller waits differently."""
    server, later = ssm(10**9), set()
    for _ in range(5):
        server.calls.clear()
        key, _ = both(ManualClock())
        with pytest.raises(SecretsUnavailable) as raised:
            key.current()
        assert len(server.calls) == ATTEMPTS
        later.add(raised.value.retry_after)
    assert len(later) == 5


def test_refusal_is_not_repeated(ssm: Callable[[int], ThrottlingSsm]) -> None:
    """A name that SSM does not know is asked for once, and the reason names it."""
    server = ssm(0)
    unknown: Any = Parameters(clients.ssm, ["/b"], ManualClock()).secret("/b", str)
    with pytest.raises(SecretsUnavailable):
        unknown.current()
    assert server.calls == [["/b"]]


def test_failure_is_shared(ssm: Callable[[int], ThrottlingSsm]) -> None:
    """Secrets that are read one after the other share a failure, and each fails anew later."""
    server, clock = ssm(10**9), ManualClock()
    for _ in range(2):
        for one in both(clock):
            with pytest.raises(SecretsUnavailable):
                one.current()
    # Each call of `both` is a new container.
    assert len(server.calls) == 2 * ATTEMPTS
    key, secret = both(clock)
    for one in (key, secret, key):
        with pytest.raises(SecretsUnavailable):
            one.current()
    assert len(server.calls) == 4 * ATTEMPTS


def test_known_secret_is_read_by_one_attempt(ssm: Callable[[int], ThrottlingSsm]) -> None:
    """While a secret is known, a request does not wait for SSM's throttling to end."""
    server, clock = ssm(0), CountedClock()
    key, _ = both(clock)
    key.current()
    server.refuses = True
    clock.advance(secrets.KEEP_SECONDS + 1)
    assert key.current() == "the-key"
    assert not key.refresh("the-key")
    assert (len(server.calls), clock.slept) == (3, [])
