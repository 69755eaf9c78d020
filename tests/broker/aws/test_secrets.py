"""Secrets that lie in SSM, and their rotation while requests go on."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest

from chalicelib.aws import clients, secrets
from chalicelib.aws.secrets import CachedSecret
from chalicelib.core import settings
from chalicelib.core.allowance import BURST, REFRESH_SECONDS
from chalicelib.core.clock import Clock
from chalicelib.core.errors import Misconfigured, SecretsUnavailable
from chalicelib.syncapi.client import SyncClient
from tests.support.clocks import ManualClock
from tests.support.running_broker import SECRET, Api, RunningBroker
from tests.support.upstream_process import KEY, RunningUpstream, free_port

pytestmark = pytest.mark.usefixtures("ssm")

OTHER = "another-secret-that-is-long-enough-as-well"


@pytest.fixture
def parameter(ssm: None) -> Iterator[str]:  # noqa: ARG001 - it must be up
    """A SecureString that holds the secret of the tests."""
    name = f"/broker/{uuid.uuid4().hex}"
    put(name, SECRET)
    yield name
    clients.ssm().delete_parameter(Name=name)


def put(name: str, value: str) -> None:
    """Write a SecureString, as an operator does."""
    clients.ssm().put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


def signed(secret: str) -> str:
    """Make a token."""
    return jwt.encode({"sub": "alice", "exp": int(time.time()) + 600}, secret)


def status(broker: RunningBroker, secret: str) -> int:
    """Ask for the list with a token that a secret signed."""
    caller = Api(broker)
    caller.token = signed(secret)
    return caller.call("GET", "/uploads").status_code


class Source:
    """Something to load a secret from, that counts and can be down."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.reads = 0
        self.is_down = False

    def __call__(self) -> str:
        """Load it."""
        self.reads += 1
        if self.is_down:
            raise SecretsUnavailable("down")
        return settings.api_key(self.value)


def test_read_once() -> None:
    """A secret is read once for each container, and again after some minutes."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert [secret.current() for _ in range(9)] == ["one"] * 9
    source.value = "two"
    clock.advance(secrets.KEEP_SECONDS)
    assert (secret.current(), source.reads) == ("one", 1)
    clock.advance(1)
    assert (secret.current(), source.reads) == ("two", 2)


def test_refreshed_at_once() -> None:
    """A secret that no longer holds is read again at once, by the first who says so."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert secret.current() == "one"
    assert not secret.refresh("one")
    source.value = "two"
    assert secret.refresh("one")
    assert secret.refresh("one")
    assert (secret.current(), source.reads) == ("two", 3)


def test_flood_bounded() -> None:
    """A flood of forged tokens does not become a flood of reads."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    secret.current()
    for _ in range(1000):
        clock.advance(0.1)
        assert not secret.refresh("one")
    assert source.reads <= 1 + BURST + 100 / REFRESH_SECONDS


@pytest.mark.parametrize("wrong", ["down", "two words"])
def test_flood_before_first(wrong: str) -> None:
    """While nothing could be read yet, a flood of requests does not become one of reads either."""
    source, clock = Source(wrong), ManualClock()
    source.is_down = wrong == "down"
    secret = CachedSecret(source, clock)
    for _ in range(1000):
        clock.advance(0.1)
        with pytest.raises((SecretsUnavailable, Misconfigured)) as raised:
            secret.current()
        assert isinstance(raised.value, SecretsUnavailable) == source.is_down
        assert raised.value.retry_after == REFRESH_SECONDS
    assert source.reads <= 1 + BURST + 100 / REFRESH_SECONDS
    source.is_down, source.value = False, "one"
    clock.advance(REFRESH_SECONDS)
    assert secret.current() == "one"


def test_strangers_do_not_reach(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Thirty forged tokens ask SSM a few times, as long as the secret can't be read."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER="/broker/nothing")
    assert [status(broker, OTHER) for _ in range(30)] == [503] * 30
    assert len(broker.lines("secret_not_read")) <= 1 + BURST + 1


def test_no_proxy_sees_it(
    upstream: RunningUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither the machine's proxies nor its .netrc have a part in what carries the key."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sync = SyncClient(upstream.url, secrets.fixed(KEY, Clock()), Clock())
    assert sync.presign("a.mp4", "video/mp4", 5, lambda: None).expires_in > 0


def test_down_afterwards() -> None:
    """What was read once is used on while it can't be read again."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert secret.current() == "one"
    source.is_down = True
    clock.advance(secrets.KEEP_SECONDS + 1)
    assert secret.current() == "one"
    assert not secret.refresh("one")
    source.is_down, source.value = False, "two"
    assert secret.refresh("one")


def test_bad_afterwards() -> None:
    """What was read once is used on when something that can't be right takes its place."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert secret.current() == "one"
    source.value = "two words"
    assert not secret.refresh("one")
    assert secret.current() == "one"


def test_never_shown() -> None:
    """A secret does not show where its object is printed."""
    secret = secrets.fixed("the-key", Clock())
    assert secret.current() == "the-key"
    assert "the-key" not in repr(secret)


@pytest.mark.parametrize("check", [settings.jwt_secret, settings.api_key])
def test_never_read(check: Callable[[str], str]) -> None:
    """A secret that was never there can't be made up for."""
    with pytest.raises(SecretsUnavailable):
        secrets.parameter(clients.ssm, "/broker/nothing", check, Clock()).current()


def test_bad_content(parameter: str) -> None:
    """A secret that can't be right from the beginning is the operator's to mend, at any time."""
    put(parameter, "too short")
    with pytest.raises(Misconfigured) as caught:
        secrets.parameter(clients.ssm, parameter, settings.jwt_secret, Clock()).current()
    assert "too short" not in caught.value.detail


def test_plain_string(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A parameter that is not encrypted is no place for a secret, and the log says so."""
    name = f"/broker/{uuid.uuid4().hex}"
    clients.ssm().put_parameter(Name=name, Value=SECRET, Type="String")
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER=name)
    answer = Api(broker).call("GET", "/uploads")
    assert (answer.status_code, answer.json()["code"]) == (503, "misconfigured")
    [line] = broker.lines("secret_not_valid")
    assert line["reason"] == "it must be of the type SecureString"
    clients.ssm().delete_parameter(Name=name)


def test_health_without_secret(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The container is healthy though a secret can't be read: a restart would not mend it."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER="/broker/nothing")
    api = Api(broker)
    assert api.call("GET", "/health").json() == {"status": "ok"}
    assert api.call("GET", "/uploads").json()["code"] == "secrets_unavailable"


def test_token_secret_rotated(
    broker: RunningBroker, upstream: RunningUpstream, parameter: str
) -> None:
    """Tokens of the old and the new secret are both accepted meanwhile; no request fails."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER=parameter)
    assert status(broker, SECRET) == 200
    assert status(broker, OTHER) == 401
    put(parameter, f"{OTHER}, {SECRET}")
    assert [status(broker, secret) for secret in (OTHER, SECRET, OTHER)] == [200, 200, 200]
    put(parameter, OTHER)
    assert status(broker, OTHER) == 200
    # Any signature that does not hold makes the broker look: the old secret is gone then.
    assert status(broker, "a-third-secret-that-nobody-has-ever-heard-of") == 401
    assert [status(broker, secret) for secret in (SECRET, OTHER)] == [401, 200]


def test_secret_in_no_line(
    broker: RunningBroker, upstream: RunningUpstream, parameter: str
) -> None:
    """Neither a secret nor a token is in the log, whatever goes wrong."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER=parameter)
    status(broker, SECRET)
    put(parameter, "short-secret")
    status(broker, OTHER)
    assert broker.lines("secret_not_valid")
    for text in (SECRET, "short-secret", signed(SECRET), signed(OTHER)):
        assert text not in broker.log.getvalue()


@pytest.mark.parametrize("name", ["JWT_SECRET", "SYNC_API_KEY"])
def test_unreadable(broker: RunningBroker, upstream: RunningUpstream, name: str) -> None:
    """While a secret has never been read, requests that need it are 503, and may be retried."""
    broker.configure(upstream, **{name: "", f"{name}_PARAMETER": "/broker/nothing"})
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 1}
    answer = Api(broker).call("POST", "/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "secrets_unavailable")
    assert answer.json()["retryable"]
    assert broker.lines("secret_not_read")


@pytest.mark.parametrize("name", ["JWT_SECRET", "SYNC_API_KEY"])
def test_unusable(
    broker: RunningBroker, upstream: RunningUpstream, parameter: str, name: str
) -> None:
    """A secret that can't be right is 503 `misconfigured`, and is not told to the browser."""
    put(parameter, "two words")
    broker.configure(upstream, **{name: "", f"{name}_PARAMETER": parameter})
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 1}
    answer = Api(broker).call("POST", "/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "misconfigured")
    assert "two words" not in answer.text + broker.log.getvalue()


@pytest.fixture
def rotating(
    broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory, parameter: str
) -> Iterator[Callable[[str], RunningUpstream]]:
    """A broker with its key in SSM, and a way to make sync. take another key."""
    folder, port = tmp_path_factory.mktemp("rotated"), free_port()
    put(parameter, KEY)
    running = [RunningUpstream(folder, port)]
    broker.configure(running[0], SYNC_API_KEY="", SYNC_API_KEY_PARAMETER=parameter)

    def take(key: str) -> RunningUpstream:
        assert running.pop().stop() == 0
        running.append(RunningUpstream(folder, port, SYNC_API_KEY=key))
        return running[0]

    yield take
    running.pop().stop()


def test_api_key_rotated(
    broker: RunningBroker, parameter: str, rotating: Callable[[str], RunningUpstream]
) -> None:
    """A key that is in SSM before sync. withdraws the old one takes over, and no request fails."""
    caller = Api(broker)
    upload = caller.landed()
    put(parameter, "the-new-key")
    after = caller.landed()
    upstream = rotating("the-new-key")
    assert caller.complete(upload).status_code == 200
    assert caller.complete(after).status_code == 200
    caller.registered()
    journal = upstream.call("GET", "/_sandbox/requests").json()
    assert [entry["status"] for entry in journal].count(401) == 1
    assert "the-new-key" not in broker.log.getvalue()


def test_api_key_withdrawn(
    broker: RunningBroker, parameter: str, rotating: Callable[[str], RunningUpstream]
) -> None:
    """A key that sync. withdrew first is the operator's trouble until the new one is in SSM."""
    caller = Api(broker)
    upload = caller.landed()
    rotating("the-new-key")
    answer = caller.complete(upload)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_unauthorized")
    assert not answer.json()["retryable"]
    put(parameter, "the-new-key")
    assert caller.complete(upload).status_code == 200
