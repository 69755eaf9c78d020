"""Caller ids: without the table's secret, nobody can guess or imitate one."""

import base64
import hashlib
import hmac
import io
import json
import logging
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import bootstrap
from chalicelib.auth.caller import PK, SECRET_BYTES, CallerIds
from chalicelib.aws import clients, codec
from chalicelib.aws.table import Table
from chalicelib.core.clock import Clock
from chalicelib.ratelimit.slots import caller_number
from ops import table
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

KEY = {"pk": {"S": PK}}
FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
# Two subjects whose unkeyed hashes begin with the same 32 bits. Finding such a pair takes a minute,
# and finding a subject that collides with a given one takes an hour.
COLLIDING = ("user-36219@example.com", "user-53684@example.com")
LOGGERS = ("", "botocore", "botocore.endpoint", "botocore.parsers", "urllib3", "broker")


@pytest.fixture
def new_table() -> Iterator[str]:
    """A table that no broker has used."""
    name = f"callers-{uuid.uuid4().hex}"
    table.create(clients.dynamodb(), name)
    yield name
    client = clients.dynamodb()
    client.update_table(TableName=name, DeletionProtectionEnabled=False)
    client.delete_table(TableName=name)


@pytest.fixture
def debug_log() -> Iterator[io.StringIO]:
    """Everything that the loggers write at DEBUG, whatever level the broker sets afterwards."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def unkeyed(subject: str, issuer: str = "") -> str:
    """Return the hash that anybody can compute from a subject."""
    return hashlib.sha256(f"{len(issuer)}:{issuer}{subject}".encode()).hexdigest()[:32]


def secret_of(name: str) -> bytes:
    """Return the secret in a table."""
    found = clients.dynamodb().get_item(TableName=name, Key=KEY, ConsistentRead=True)
    return bytes(found["Item"]["secret"]["B"])


def id_of(broker: RunningBroker, subject: str, **claims: Any) -> str:
    """Return a caller's id in the log."""
    api = Api(broker)
    api.token = token(subject, **claims)
    response = api.call("GET", "/uploads")
    assert response.status_code == 200
    found: str = api.line(response)["caller"]
    return found


def test_caller_id_is_keyed(broker: RunningBroker) -> None:
    """An id is a hash keyed with the table's secret, so a guessed subject can't be confirmed."""
    found = id_of(broker, "alice@example.com", iss="app")
    assert found != unkeyed("alice@example.com", "app")
    text = b"3:appalice@example.com"
    assert found == hmac.digest(secret_of(broker.table), text, "sha256").hex()[:32]


def test_caller_id_separates_issuer_and_subject(broker: RunningBroker) -> None:
    """The same text split differently into issuer and subject gives another id."""
    assert id_of(broker, "bc", iss="a") != id_of(broker, "c", iss="ab")
    assert id_of(broker, "1:a") != id_of(broker, "a")


def test_colliding_subjects_have_other_caller_numbers(broker: RunningBroker) -> None:
    """A subject that was found by the unkeyed hash does not share its victim's caller number."""
    victim, attacker = (unkeyed(subject) for subject in COLLIDING)
    assert caller_number(victim) == caller_number(attacker)
    victim, attacker = (id_of(broker, subject) for subject in COLLIDING)
    assert caller_number(victim) != caller_number(attacker)


def test_caller_id_depends_on_table(
    broker: RunningBroker, upstream: RunningUpstream, new_table: str
) -> None:
    """A subject has one id in all containers of a table, and another id in another table."""
    first = id_of(broker, "alice")
    broker.configure(upstream, UPLOADS_TABLE=new_table)
    other = id_of(broker, "alice")
    assert other != first
    broker.configure(upstream, UPLOADS_TABLE=new_table)
    assert id_of(broker, "alice") == other


def test_open_mode_caller_id_is_keyed(
    broker: RunningBroker, upstream: RunningUpstream, new_table: str
) -> None:
    """The one id of the open mode is keyed with the table's secret too."""
    settings = {"AUTH_MODE": "open", "JWT_SECRET": "", "UPLOADS_TABLE": new_table}
    broker.configure(upstream, **settings)
    found = id_of(broker, "alice")
    assert found == id_of(broker, "bob")
    assert found != unkeyed("everybody")
    assert found == hmac.digest(secret_of(new_table), b"0:everybody", "sha256").hex()[:32]


class _SimultaneousTable(Table):
    """A table whose readers wait until all have read."""

    barrier: threading.Barrier

    def get(self, pk: str) -> codec.Item | None:
        """Return an item when all others have read it too."""
        found = super().get(pk)
        self.barrier.wait(timeout=20)
        return found


def test_caller_secret_of_racing_containers(new_table: str) -> None:
    """Containers that start at the same time without a secret agree on one, and it stays."""
    containers = 8
    barrier = threading.Barrier(containers)
    found: list[str] = []

    def start() -> None:
        store = _SimultaneousTable(clients.dynamodb(), new_table, Clock())
        store.barrier = barrier
        found.append(CallerIds(store).of("", "alice"))

    threads = [threading.Thread(target=start) for _ in range(containers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == containers
    assert len(set(found)) == 1
    secret = secret_of(new_table)
    assert len(secret) == SECRET_BYTES
    later = CallerIds(Table(clients.dynamodb(), new_table, Clock()))
    later.prepare()
    assert later.of("", "alice") == found[0]
    assert secret_of(new_table) == secret


def test_caller_secret_is_not_counted(
    broker: RunningBroker,
    upstream: RunningUpstream,
    new_table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No request's log line counts the read of the secret."""
    settings = broker.environment(upstream, UPLOADS_TABLE=new_table)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # First without startup, as after one that did not reach the table.
    broker.configure(upstream, UPLOADS_TABLE=new_table)
    api = Api(broker)
    assert api.line(api.call("GET", "/uploads"))["dynamodbCalls"] == 1
    bootstrap.use(None)
    assert bootstrap.start(settings) is None
    started = bootstrap.broker()
    name = started.caller_ids.of("", "alice")
    assert name == CallerIds(Table(clients.dynamodb(), new_table, Clock())).of("", "alice")


def spellings(secret: bytes) -> list[str]:
    """Return the forms in which the secret could appear: as text, in base64, in hex."""
    encoded = [base64.b64encode(secret[start:]).decode()[4:-8] for start in range(3)]
    return [repr(secret)[2:-1], secret.decode("latin-1"), secret.hex(), *encoded]


def test_caller_secret_is_never_shown(
    broker: RunningBroker, upstream: RunningUpstream, new_table: str, debug_log: io.StringIO
) -> None:
    """No response, log line, record or representation has the secret, even at DEBUG."""
    broker.configure(upstream, UPLOADS_TABLE=new_table, LOG_LEVEL="DEBUG")
    api = Api(broker)
    upload = api.registered()
    shown = [api.call("GET", path).text for path in ("/uploads", "/assets", "/limits")]
    shown += [api.call("POST", "/uploads", json={}).text, json.dumps(upload)]
    parts: Any = broker.parts()
    shown += [repr(parts), repr(parts.caller_ids), str(vars(parts.authenticator))]
    shown += [debug_log.getvalue(), broker.log.getvalue()]
    assert "botocore" in debug_log.getvalue()
    scanned = clients.dynamodb().scan(TableName=new_table)["Items"]
    records = [item for item in scanned if item["pk"]["S"] != PK]
    assert len(records) < len(scanned)
    shown.append(str([codec.plain(item) for item in records]))
    for mark in spellings(secret_of(new_table)):
        assert not [text[:200] for text in shown if mark in text]


def test_caller_secret_is_in_no_index(broker: RunningBroker) -> None:
    """The secret is in no list, is never due for a sweep, and never expires."""
    Api(broker).begin()
    found = clients.dynamodb().get_item(TableName=broker.table, Key=KEY)["Item"]
    assert set(found) == {"pk", "secret"}
