"""Caller ids: nobody finds the subject of one, or another subject with a part of it."""

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
# Their unkeyed hashes begin with the same 32 bits. A search of a minute finds such a pair, and one
# of an hour a subject that takes the turns of a given one.
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
    """All that any logger writes at its lowest level, whatever the broker sets afterwards."""
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
    """Hash as anybody can who knows the subject."""
    return hashlib.sha256(f"{len(issuer)}:{issuer}{subject}".encode()).hexdigest()[:32]


def secret_of(name: str) -> bytes:
    """Read the secret past the broker."""
    found = clients.dynamodb().get_item(TableName=name, Key=KEY, ConsistentRead=True)
    return bytes(found["Item"]["secret"]["B"])


def id_of(broker: RunningBroker, subject: str, **claims: Any) -> str:
    """Read a caller's id from the log."""
    api = Api(broker)
    api.token = token(subject, **claims)
    answer = api.call("GET", "/uploads")
    assert answer.status_code == 200
    found: str = api.line(answer)["caller"]
    return found


def test_caller_id_is_keyed(broker: RunningBroker) -> None:
    """Who guesses the subject can't tell by a log or a record whether the guess is right."""
    found = id_of(broker, "alice@example.com", iss="app")
    assert found != unkeyed("alice@example.com", "app")
    text = b"3:appalice@example.com"
    assert found == hmac.digest(secret_of(broker.table), text, "sha256").hex()[:32]


def test_caller_id_keeps_issuer_apart(broker: RunningBroker) -> None:
    """What belongs to the issuer and what to the subject counts."""
    assert id_of(broker, "bc", iss="a") != id_of(broker, "c", iss="ab")
    assert id_of(broker, "1:a") != id_of(broker, "a")


def test_caller_number_collision(broker: RunningBroker) -> None:
    """A subject that was searched for by the unkeyed hash takes no turn of its victim."""
    victim, attacker = (unkeyed(subject) for subject in COLLIDING)
    assert caller_number(victim) == caller_number(attacker)
    victim, attacker = (id_of(broker, subject) for subject in COLLIDING)
    assert caller_number(victim) != caller_number(attacker)


def test_caller_ids_of_two_tables(
    broker: RunningBroker, upstream: RunningUpstream, new_table: str
) -> None:
    """One subject has another id in each table, and the same in each container of a table."""
    first = id_of(broker, "alice")
    broker.configure(upstream, UPLOADS_TABLE=new_table)
    other = id_of(broker, "alice")
    assert other != first
    broker.configure(upstream, UPLOADS_TABLE=new_table)
    assert id_of(broker, "alice") == other


def test_open_mode_caller_id_is_keyed(
    broker: RunningBroker, upstream: RunningUpstream, new_table: str
) -> None:
    """Everybody's one id in the open mode comes from the table's secret too."""
    settings = {"AUTH_MODE": "open", "JWT_SECRET": "", "UPLOADS_TABLE": new_table}
    broker.configure(upstream, **settings)
    found = id_of(broker, "alice")
    assert found == id_of(broker, "bob")
    assert found != unkeyed("everybody")
    assert found == hmac.digest(secret_of(new_table), b"0:everybody", "sha256").hex()[:32]


class _Together(Table):
    """A table whose readers wait until all have read."""

    barrier: threading.Barrier

    def get(self, pk: str) -> codec.Item | None:
        """Read an item, and wait for the others."""
        found = super().get(pk)
        self.barrier.wait(timeout=20)
        return found


def test_caller_secret_of_racing_containers(new_table: str) -> None:
    """Containers that all find no secret end with the same one, which stays."""
    containers = 8
    barrier = threading.Barrier(containers)
    found: list[str] = []

    def start() -> None:
        store = _Together(clients.dynamodb(), new_table, Clock())
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
    """The container pays for the secret, whichever request comes first; no request is charged."""
    settings = broker.environment(upstream, UPLOADS_TABLE=new_table)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # Without a start, as after one that did not reach the table; then with one.
    broker.configure(upstream, UPLOADS_TABLE=new_table)
    api = Api(broker)
    assert api.line(api.call("GET", "/uploads"))["dynamodbCalls"] == 1
    bootstrap.use(None)
    assert bootstrap.start(settings) is None
    started = bootstrap.broker()
    name = started.caller_ids.of("", "alice")
    assert name == CallerIds(Table(clients.dynamodb(), new_table, Clock())).of("", "alice")


def spellings(secret: bytes) -> list[str]:
    """List how the secret could be written down: plain, as DynamoDB and Python have it, in hex."""
    encoded = [base64.b64encode(secret[start:]).decode()[4:-8] for start in range(3)]
    return [repr(secret)[2:-1], secret.decode("latin-1"), secret.hex(), *encoded]


def test_caller_secret_never_shows(
    broker: RunningBroker, upstream: RunningUpstream, new_table: str, debug_log: io.StringIO
) -> None:
    """No response, log line, record or representation holds the secret, even at DEBUG."""
    broker.configure(upstream, UPLOADS_TABLE=new_table, LOG_LEVEL="DEBUG")
    api = Api(broker)
    upload = api.registered()
    shown = [api.call("GET", path).text for path in ("/uploads", "/assets", "/limits")]
    shown += [api.call("POST", "/uploads", json={}).text, json.dumps(upload)]
    parts: Any = broker.wired()
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
    """The secret is in no list, is due at no sweep, and never expires."""
    Api(broker).begin()
    found = clients.dynamodb().get_item(TableName=broker.table, Key=KEY)["Item"]
    assert set(found) == {"pk", "secret"}
