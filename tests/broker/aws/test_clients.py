"""The fast clients equal those that boto3 makes, and items equal those that boto3 writes."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import SSLError
from botocore.loaders import Loader
from botocore.session import Session

from chalicelib import bootstrap
from chalicelib.aws import clients, codec
from chalicelib.core import tls
from chalicelib.core.errors import Misconfigured
from tests.deploy.relay import certificate
from tests.support.scripted_sync import Reply, ScriptedSync

REGIONS = [
    *boto3.Session().get_available_regions("dynamodb"),
    *boto3.Session().get_available_regions("dynamodb", "aws-cn"),
    *boto3.Session().get_available_regions("dynamodb", "aws-us-gov"),
]


@pytest.fixture
def region_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that sets the region for new clients."""

    def set_region(region: str) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        monkeypatch.setenv("AWS_REGION", region)
        clients.session.cache_clear()

    yield set_region
    clients.session.cache_clear()


def assert_usual(made: Any, service: str, region: str) -> None:
    """Compare a client with boto3's own: same host, and same signature."""
    usual: Any = boto3.client(service, region_name=region)  # type: ignore[call-overload]
    assert made.meta.endpoint_url == usual.meta.endpoint_url
    assert made.meta.region_name == usual.meta.region_name
    assert made.meta.partition == usual.meta.partition
    assert made._request_signer.signing_name == usual._request_signer.signing_name  # noqa: SLF001 - only the signer knows
    assert made._request_signer.region_name == usual._request_signer.region_name  # noqa: SLF001 - as above


@pytest.mark.parametrize("service", clients.SERVICES)
@pytest.mark.parametrize("region", REGIONS)
def test_fast_client_is_usual_client(
    service: str, region: str, region_of: Callable[[str], None]
) -> None:
    """In every region a fast client has boto3's host, and signs for the same region and service."""
    region_of(region)
    # The session's own client: `clients.client` would hide that the fast session is broken.
    session: Any = clients.session()
    assert_usual(session.create_client(service, config=Config()), service, region)


@pytest.mark.parametrize("service", ["sts", "sso", "sso-oidc"])
def test_fast_session_knows_credentials(service: str, region_of: Callable[[str], None]) -> None:
    """The fast session can call the services that give some profiles their credentials."""
    region_of("eu-west-1")
    session: Any = clients.session()
    assert_usual(session.create_client(service), service, "eu-west-1")


class OtherEndpoints(Loader):
    """A loader whose endpoints have another form than botocore expects."""

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Load endpoints of another form, and all else as usual."""
        if name == "endpoints":
            return {"version": 9}, ""
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found


def with_loader(loader: object) -> Session:
    """Make a session that loads its data by another loader."""
    core = Session()
    core.register_component("data_loader", loader)
    return core


def without_module() -> Session:
    """Fail as an import of a module that was moved."""
    raise ImportError("botocore.loaders")


CHANGED = {
    "loader without methods": lambda: with_loader(object()),
    "endpoints of another form": lambda: with_loader(OtherEndpoints()),
    "module moved": without_module,
}


@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize("service", clients.SERVICES)
def test_changed_botocore_gets_plain_client(
    changed: str, service: str, region_of: Callable[[str], None]
) -> None:
    """If botocore's inner parts have changed, the client is the one that boto3 makes."""
    region_of("eu-west-1")
    with pytest.raises(Exception, match=r".+"):
        CHANGED[changed]().create_client(service, region_name="eu-west-1")
    assert_usual(clients.client(service, Config(), CHANGED[changed]), service, "eu-west-1")


@pytest.mark.parametrize(
    ("region", "default", "chosen"),
    [
        ("eu-west-1", None, "eu-west-1"),
        (None, "eu-west-1", "eu-west-1"),
        ("eu-west-1", "us-east-2", "eu-west-1"),
        (None, None, None),
    ],
)
def test_region_is_read_from_either_variable(
    monkeypatch: pytest.MonkeyPatch, region: str | None, default: str | None, chosen: str | None
) -> None:
    """Either variable names the region. Without both, startup reports it with all other errors."""
    for name, value in (("AWS_REGION", region), ("AWS_DEFAULT_REGION", default)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    clients.session.cache_clear()
    try:
        with pytest.raises(Misconfigured) as raised:
            bootstrap.build({})
        assert "AUTH_MODE is not set" in raised.value.detail
        assert ("AWS_REGION is not set" in raised.value.detail) == (chosen is None)
        if chosen is not None:
            assert clients.dynamodb().meta.region_name == chosen
    finally:
        clients.session.cache_clear()


VALUES = [None, True, False, 0, 7, -3, 10**18, "", "ü", [], {}, [1, "a", None], {"a": {"b": [1]}}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_item_is_written_as_by_boto3(value: object) -> None:
    """A value is written as boto3 writes it, and read back unchanged."""
    written = codec.values({"a": value})
    assert written == {"a": TypeSerializer().serialize(value)}
    assert TypeDeserializer().deserialize(written["a"]) == value
    read = codec.plain(written)["a"]
    assert read == value
    assert type(read) is type(value)


def test_unknown_type_is_refused() -> None:
    """A value of another type is refused."""
    with pytest.raises(TypeError):
        codec.values({"a": 1.5})


@pytest.fixture
def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A DynamoDB with a certificate of its own, for clients from now on. It yields the file."""
    pem, key = certificate(tmp_path, "dynamodb")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server = ScriptedSync(lambda _: Reply(200, {"Table": {"TableName": "t"}}), context)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for cached in (clients.session, tls.context):
        cached.cache_clear()
    yield pem
    for cached in (clients.session, tls.context):
        cached.cache_clear()
    server.stop()


def test_client_trusts_shared_context(tls_server: Path) -> None:
    """A client refuses a certificate until the shared context trusts it."""
    with pytest.raises(SSLError, match="self-signed certificate"):
        clients.dynamodb().describe_table(TableName="t")
    tls.context().load_verify_locations(tls_server)
    assert clients.dynamodb().describe_table(TableName="t")["Table"] == {"TableName": "t"}


def test_own_certificates_are_trusted(tls_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If AWS_CA_BUNDLE is set, a client trusts those certificates."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tls_server))
    assert clients.dynamodb().describe_table(TableName="t")["Table"] == {"TableName": "t"}
