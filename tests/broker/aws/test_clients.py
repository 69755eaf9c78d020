"""The lean clients are the clients that boto3 would make, and items are what boto3 would write."""

import boto3
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config

from chalicelib import bootstrap
from chalicelib.aws import clients, codec
from chalicelib.core.errors import Misconfigured

REGIONS = [
    *boto3.Session().get_available_regions("dynamodb"),
    *boto3.Session().get_available_regions("dynamodb", "aws-cn"),
    *boto3.Session().get_available_regions("dynamodb", "aws-us-gov"),
]


@pytest.mark.parametrize("service", clients.SERVICES)
@pytest.mark.parametrize("region", REGIONS)
def test_same_client(service: str, region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every region both clients ask the same host, and sign for the same region and service."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_REGION", region)
    clients.session.cache_clear()
    try:
        lean = clients.client(service, Config())
    finally:
        clients.session.cache_clear()
    usual = boto3.client(service, region_name=region)  # type: ignore[call-overload]
    assert lean.meta.endpoint_url == usual.meta.endpoint_url
    assert lean.meta.region_name == usual.meta.region_name
    assert lean.meta.partition == usual.meta.partition
    assert lean._request_signer.signing_name == usual._request_signer.signing_name  # noqa: SLF001
    assert lean._request_signer.region_name == usual._request_signer.region_name  # noqa: SLF001


@pytest.mark.parametrize(
    ("region", "default", "chosen"),
    [
        ("eu-west-1", None, "eu-west-1"),
        (None, "eu-west-1", "eu-west-1"),
        ("eu-west-1", "us-east-2", "eu-west-1"),
        (None, None, None),
    ],
)
def test_region(
    monkeypatch: pytest.MonkeyPatch, region: str | None, default: str | None, chosen: str | None
) -> None:
    """Either variable names the region; without one, it is told beside all else that is wrong."""
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
def test_same_item(value: object) -> None:
    """Written as boto3 writes it, and read back as it was."""
    written = codec.values({"a": value})
    assert written == {"a": TypeSerializer().serialize(value)}
    assert TypeDeserializer().deserialize(written["a"]) == value
    read = codec.plain(written)["a"]
    assert read == value
    assert type(read) is type(value)


def test_unknown_type() -> None:
    """What the broker never writes is refused, not guessed."""
    with pytest.raises(TypeError):
        codec.values({"a": 1.5})
