"""Cached secrets: when they are read, their rotation, and failures of SSM."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest

from chalicelib.aws import clients, secrets
from chalicelib.aws.secrets import CachedSecret, Parameters
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
    """The name of a SecureString with the secret of the tests."""
    name = f"/broker/{uuid.uuid4().hex}"
    put(name, SECRET)
    yield name
    clients.ssm().delete_parameter(Name=name)


def put(name: str, value: str) -> None:
    """Write a SecureString, as an operator does."""
    clients.ssm().put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


def stored(name: str, check: Callable[[str], str]) -> CachedSecret:
    """Return the secret in a parameter."""
    return Parameters(clients.ssm, [name], Clock()).secret(name, check)


def signed(secret: str) -> str:
    """Return a token that a secret signed."""
    return jwt.encode({"sub": "alice", "exp": int(time.time()) + 600}, secret)


def status(broker: RunningBroker, secret: str) -> int:
    """Return the status of a request with a token that a secret signed."""
    caller = Api(broker)
    caller.token = signed(secret)
    return caller.call("GET", "/uploads").status_code


class Source:
    """A source of a secret, which counts its reads and can be down."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.reads = 0
        self.is_down = False

    def __call__(self) -> str:
        """Return the secret."""
        self.reads += 1
        if self.is_down:
            raise SecretsUnavailable("down")
        return settings.api_key(self.value)


def test_secret_is_read_once_in_minutes() -> None:
    """A secret is read once, and again after some minutes."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert [secret.current() for _ in range(9)] == ["one"] * 9
    source.value = "two"
    clock.advance(secrets.KEEP_SECONDS)
    assert (secret.current(), source.reads) == ("one", 1)
    clock.advance(1)
    assert (secret.current(), source.reads) == ("two", 2)


def test_refused_secret_is_read_at_once() -> None:
    """A secret that was refused is read again at once, and only once if it has changed."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert secret.current() == "one"
    assert not secret.refresh("one")
    source.value = "two"
    assert secret.refresh("one")
    assert secret.refresh("one")
    assert (secret.current(), source.reads) == ("two", 3)


def test_flood_of_tokens_causes_few_reads() -> None:
    """A flood of forged tokens causes a read every ten seconds at most."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    secret.current()
    for _ in range(1000):
        clock.advance(0.1)
        assert not secret.refresh("one")
    assert source.reads <= 1 + BURST + 100 / REFRESH_SECONDS


@pytest.mark.parametrize("wrong", ["down", "two words"])
def test_flood_before_first_read_causes_few_reads(wrong: str) -> None:
    """While a secret can't be read, a flood of requests causes a read every ten seconds at most."""
    source, clock = Source(wrong), ManualClock()
    source.is_down = wrong == "down"
    secret = CachedSecret(source, clock)
    for _ in range(1000):
        clock.advance(0.1)
        with pytest.raises((SecretsUnavailable, Misconfigured)) as raised:
            secret.current()
        assert isinstance(raised.value, SecretsUnavailable) == source.is_down
        assert 1 <= (raised.value.retry_after or 0) <= 5
    assert source.reads <= 1 + BURST + 100 / REFRESH_SECONDS
    source.is_down, source.value = False, "one"
    clock.advance(REFRESH_SECONDS)
    assert secret.current() == "one"


def test_forged_tokens_cause_few_calls_of_ssm(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """While the secret can't be read, thirty forged tokens cause only a few calls of SSM."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER="/broker/nothing")
    assert [status(broker, OTHER) for _ in range(30)] == [503] * 30
    assert len(broker.lines("secret_not_read")) <= 1 + BURST + 1


def test_request_to_sync_uses_no_proxy(
    upstream: RunningUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A request with the key uses neither the machine's proxies nor its .netrc."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sync = SyncClient(upstream.url, secrets.fixed(KEY, Clock()), Clock())
    assert sync.presign("a.mp4", "video/mp4", 5, lambda: None).expires_in > 0


def test_secret_is_kept_while_ssm_is_down() -> None:
    """A secret that was read is still used while it can't be read again."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert secret.current() == "one"
    source.is_down = True
    clock.advance(secrets.KEEP_SECONDS + 1)
    assert secret.current() == "one"
    assert not secret.refresh("one")
    source.is_down, source.value = False, "two"
    assert secret.refresh("one")


def test_secret_is_kept_when_new_one_is_wrong() -> None:
    """A secret that was read is still used if its new content can't be right."""
    source, clock = Source("one"), ManualClock()
    secret = CachedSecret(source, clock)
    assert secret.current() == "one"
    source.value = "two words"
    assert not secret.refresh("one")
    assert secret.current() == "one"


def test_secret_is_not_in_repr() -> None:
    """The representation of a cached secret does not have the secret."""
    secret = secrets.fixed("the-key", Clock())
    assert secret.current() == "the-key"
    assert "the-key" not in repr(secret)


@pytest.mark.parametrize("check", [settings.jwt_secret, settings.api_key])
def test_absent_parameter_is_unavailable(check: Callable[[str], str]) -> None:
    """If the parameter does not exist, the secret is unavailable."""
    with pytest.raises(SecretsUnavailable):
        stored("/broker/nothing", check).current()


def test_wrong_content_is_misconfigured(parameter: str) -> None:
    """If the content can't be right, the broker is misconfigured. The error does not quote it."""
    put(parameter, "too short")
    with pytest.raises(Misconfigured) as caught:
        stored(parameter, settings.jwt_secret).current()
    assert "too short" not in caught.value.detail


def test_plain_string_is_refused(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A parameter that is not encrypted is refused, and the log has the reason."""
    name = f"/broker/{uuid.uuid4().hex}"
    clients.ssm().put_parameter(Name=name, Value=SECRET, Type="String")
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER=name)
    response = Api(broker).call("GET", "/uploads")
    assert (response.status_code, response.json()["code"]) == (503, "misconfigured")
    [line] = broker.lines("secret_not_valid")
    assert line["reason"] == "it must be of the type SecureString"
    clients.ssm().delete_parameter(Name=name)


def test_health_needs_no_secret(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Without its secret the broker is still healthy, because a restart would not help."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER="/broker/nothing")
    api = Api(broker)
    assert api.call("GET", "/health").json() == {"status": "ok"}
    assert api.call("GET", "/uploads").json()["code"] == "secrets_unavailable"


def test_token_secret_rotation_fails_no_request(
    broker: RunningBroker, upstream: RunningUpstream, parameter: str
) -> None:
    """During a rotation the tokens of both secrets are accepted, and no request fails."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER=parameter)
    assert status(broker, SECRET) == 200
    assert status(broker, OTHER) == 401
    put(parameter, f"{OTHER}, {SECRET}")
    assert [status(broker, secret) for secret in (OTHER, SECRET, OTHER)] == [200, 200, 200]
    put(parameter, OTHER)
    assert status(broker, OTHER) == 200
    # A wrong signature makes the broker read the secret again, and the old one is gone.
    assert status(broker, "a-third-secret-that-nobody-has-ever-heard-of") == 401
    assert [status(broker, secret) for secret in (SECRET, OTHER)] == [401, 200]


def test_log_has_no_secret(
    broker: RunningBroker, upstream: RunningUpstream, parameter: str
) -> None:
    """The log has neither secrets nor tokens, even after failures."""
    broker.configure(upstream, JWT_SECRET="", JWT_SECRET_PARAMETER=parameter)
    status(broker, SECRET)
    put(parameter, "short-secret")
    status(broker, OTHER)
    assert broker.lines("secret_not_valid")
    for text in (SECRET, "short-secret", signed(SECRET), signed(OTHER)):
        assert text not in broker.log.getvalue()


@pytest.mark.parametrize("name", ["JWT_SECRET", "SYNC_API_KEY"])
def test_unreadable_secret_is_503(
    broker: RunningBroker, upstream: RunningUpstream, name: str
) -> None:
    """Until a secret is read for the first time, requests that need it get a retryable 503."""
    broker.configure(upstream, **{name: "", f"{name}_PARAMETER": "/broker/nothing"})
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 1}
    response = Api(broker).call("POST", "/uploads", json=body)
    assert (response.status_code, response.json()["code"]) == (503, "secrets_unavailable")
    assert response.json()["retryable"]
    assert broker.lines("secret_not_read")


@pytest.mark.parametrize("name", ["JWT_SECRET", "SYNC_API_KEY"])
def test_unusable_secret_is_503(
    broker: RunningBroker, upstream: RunningUpstream, parameter: str, name: str
) -> None:
    """If a secret can't be right, requests get 503 `misconfigured`, which does not quote it."""
    put(parameter, "two words")
    broker.configure(upstream, **{name: "", f"{name}_PARAMETER": parameter})
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 1}
    response = Api(broker).call("POST", "/uploads", json=body)
    assert (response.status_code, response.json()["code"]) == (503, "misconfigured")
    assert "two words" not in response.text + broker.log.getvalue()


@pytest.fixture
def rotating(
    broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory, parameter: str
) -> Iterator[Callable[[str], RunningUpstream]]:
    """A broker with its key in SSM, and a function that makes Sync accept another key."""
    folder, port = tmp_path_factory.mktemp("rotated"), free_port()
    put(parameter, KEY)
    running = [RunningUpstream(folder, port)]
    broker.configure(running[0], SYNC_API_KEY="", SYNC_API_KEY_PARAMETER=parameter)

    def rotate(key: str) -> RunningUpstream:
        assert running.pop().stop() == 0
        running.append(RunningUpstream(folder, port, SYNC_API_KEY=key))
        return running[0]

    yield rotate
    running.pop().stop()


def test_api_key_rotation_fails_no_request(
    broker: RunningBroker, parameter: str, rotating: Callable[[str], RunningUpstream]
) -> None:
    """If the new key is in SSM before Sync withdraws the old one, no request fails."""
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


def test_withdrawn_api_key_is_reported(
    broker: RunningBroker, parameter: str, rotating: Callable[[str], RunningUpstream]
) -> None:
    """If Sync withdraws the key first, requests fail until the new one is in SSM."""
    caller = Api(broker)
    upload = caller.landed()
    rotating("the-new-key")
    response = caller.complete(upload)
    assert (response.status_code, response.json()["code"]) == (502, "upstream_unauthorized")
    assert not response.json()["retryable"]
    put(parameter, "the-new-key")
    assert caller.complete(upload).status_code == 200
