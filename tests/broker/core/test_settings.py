"""The settings: nothing is allowed by default, and all mistakes are reported at once."""

from pathlib import Path

import jwt
import pytest

from chalicelib.core import settings
from chalicelib.core.errors import Misconfigured
from sandbox import environment
from sandbox.ports import Ports

GOOD = {
    "AUTH_MODE": "jwt",
    "JWT_SECRET": "s" * 32,
    "SYNC_API_KEY": "the-key",
    "UPLOADS_TABLE": "uploads",
}


def test_defaults_are_documented_values() -> None:
    """Four settings are enough; the rest has the documented defaults."""
    chosen = settings.load(GOOD)
    assert chosen.sync_base_url == "https://api.sync.so"
    assert chosen.max_upload_bytes == 5_368_709_120
    assert chosen.allowed_content_types == ("video/*", "audio/*", "image/*")
    assert chosen.allowed_origins == ()
    assert chosen.settle_seconds == 90


def test_missing_settings_are_reported_at_once() -> None:
    """All missing variables are reported at once, by name."""
    with pytest.raises(Misconfigured) as caught:
        settings.load({})
    for name in GOOD:
        assert f"{name} is not set" in caught.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_MODE", "none"),
        ("JWT_SECRET", "s" * 31),
        ("JWT_SECRET", "s" * 32 + ",short"),
        ("JWT_SECRET", "s" * 32 + ","),
        ("JWT_SECRET", ",".join(["s" * 32, "t" * 32, "u" * 32])),
        ("JWT_SECRET", f"-----BEGIN PUBLIC KEY-----\n{'A' * 64}\n-----END PUBLIC KEY-----"),
        ("JWT_SECRET", f"{'s' * 32},ssh-rsa {'A' * 64}"),
        ("JWT_ISSUER", "  "),
        ("JWT_ISSUER", " https://login.example.com"),
        ("JWT_AUDIENCE", "uploads\n"),
        ("JWT_AUDIENCE", " "),
        ("JWT_AUDIENCE", " , "),
        ("JWT_AUDIENCE", "uploads,\n"),
        ("LIMITS_CLAIM", " "),
        ("SYNC_API_KEY", 'the"key'),
        ("SYNC_API_KEY", "the\\key"),
        ("SYNC_API_KEY", "the\tkey"),
        ("SYNC_BASE_URL", "http://api.sync.so"),
        ("SYNC_BASE_URL", "api.sync.so"),
        ("SYNC_BASE_URL", "https://api.sync.so?x=1"),
        ("SYNC_BASE_URL", "https://api.sync.so#x"),
        ("SYNC_BASE_URL", "https://a:b@api.sync.so"),
        ("SYNC_BASE_URL", " https://api.sync.so"),
        ("SYNC_BASE_URL", "https://api.sync.so:0"),
        ("SYNC_BASE_URL", "https://api.sync.so:65536"),
        ("SYNC_BASE_URL", "https://[::1"),
        ("SYNC_BASE_URL", "https://..."),
        ("SYNC_STORAGE_HOSTS", "https://assets.sync.so"),
        ("SYNC_STORAGE_HOSTS", ","),
        ("STORAGE_RELAY", "http://uploads.example.com"),
        ("STORAGE_RELAY", "https://uploads.example.com/"),
        ("STORAGE_RELAY", "https://uploads.example.com/path"),
        ("STORAGE_RELAY", "https://uploads.example.com:443"),
        ("STORAGE_RELAY", "https://a:b@uploads.example.com"),
        ("STORAGE_RELAY", "https://uploads.example.com,https://b.example.com"),
        ("STORAGE_RELAY", "*"),
        ("ALLOWED_ORIGINS", "https://a.example,*"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "https://a.example/"),
        ("ALLOWED_ORIGINS", "a.example"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "https://a.example:443"),
        ("ALLOWED_ORIGINS", "http://a.example:80"),
        ("ALLOWED_ORIGINS", "https://a.example:65536"),
        ("ALLOWED_ORIGINS", "https://a.example:0"),
        ("ALLOWED_ORIGINS", "https://a.example:08"),
        ("ALLOWED_ORIGINS", "https://.."),
        ("ALLOWED_ORIGINS", "https://-"),
        ("ALLOWED_ORIGINS", "https://[::g]"),
        ("ALLOWED_ORIGINS", "https://1.2.3"),
        ("ALLOWED_ORIGINS", "https://A.example"),
        ("PUBLIC_URL_EXCEPTIONS", "*"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "5368709121"),
        ("MAX_UPLOAD_BYTES", "5 GB"),
        ("MAX_UPLOAD_BYTES", "²"),
        ("MAX_UPLOAD_BYTES", "9" * 5000),
        ("BYTES_PER_DAY", "9" * 5000),
        ("ALLOWED_CONTENT_TYPES", "video"),
        ("ALLOWED_CONTENT_TYPES", "*/mp4"),
        ("ALLOWED_CONTENT_TYPES", "video/webm;codecs=vp9"),
        ("ALLOWED_CONTENT_TYPES", ","),
        ("SETTLE_SECONDS", "-1"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_invalid_value_is_reported_by_name(name: str, value: str) -> None:
    """An invalid value is reported by the variable's name, and its text is not repeated."""
    with pytest.raises(Misconfigured) as caught:
        settings.load({**GOOD, name: value})
    assert caught.value.detail.startswith(f"{name} is not valid: it must be ")
    assert ";" not in caught.value.detail


@pytest.mark.parametrize(
    "origin",
    [
        *("https://a.example", "http://a.example:443", "https://a:8443", "http://127.0.0.1:8080"),
        *("https://[::1]:5", "http://localhost:3000", "https://xn--bcher-kva.example"),
    ],
)
def test_origin_is_accepted(origin: str) -> None:
    """Origins are accepted as browsers write them."""
    chosen = settings.load({**GOOD, "ALLOWED_ORIGINS": f" {origin} , https://b.example"})
    assert chosen.allowed_origins == (origin, "https://b.example")


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA user@host",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAy",
    ],
)
def test_key_of_a_pair_is_no_secret(key: str) -> None:
    """A key that the JWT library refuses as a shared secret is reported at the start."""
    with pytest.raises(jwt.InvalidKeyError):
        jwt.encode({}, key, "HS256")
    with pytest.raises(ValueError, match="random text"):
        settings.jwt_secret(key)


JWKS = {
    "AUTH_MODE": "jwt",
    "JWT_JWKS_URL": "https://login.example.com/keys.json",
    "JWT_ISSUER": "https://login.example.com/",
    "JWT_AUDIENCE": "uploads",
    "SYNC_API_KEY": "the-key",
    "UPLOADS_TABLE": "uploads",
}


def test_jwks_url_replaces_secret() -> None:
    """A URL of key sets replaces the secret."""
    chosen = settings.load(JWKS)
    assert chosen.jwt_jwks_url == "https://login.example.com/keys.json"
    assert chosen.jwt_issuer == "https://login.example.com/"
    assert (chosen.jwt_audience_claim, chosen.limits_claim) == ("aud", "upload")
    assert settings.load({**JWKS, "JWT_JWKS_URL": "http://127.0.0.1:1/k"}).jwt_secret is None


@pytest.mark.parametrize("rest", ["/", "/keys/", "/keys?tenant=a&v=2", "/keys/?v=2/"])
def test_jwks_url_is_kept(rest: str) -> None:
    """The URL of the key set is kept exactly as it is set."""
    url = "https://login.example.com" + rest
    assert settings.load({**JWKS, "JWT_JWKS_URL": url}).jwt_jwks_url == url


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"JWT_ISSUER": ""}, "JWT_ISSUER is not set"),
        ({"JWT_AUDIENCE": ""}, "JWT_AUDIENCE is not set"),
        ({"JWT_JWKS_URL": "http://login.example.com/keys.json"}, "JWT_JWKS_URL is not valid"),
        ({"JWT_JWKS_URL": "file:///etc/passwd"}, "JWT_JWKS_URL is not valid"),
        ({"JWT_JWKS_URL": ""}, "JWT_SECRET is not set"),
        ({"JWT_JWKS_URL": "https://login.example.com/k#x"}, "JWT_JWKS_URL is not valid"),
        ({"JWT_JWKS_URL": "https://login.example.com:65536/k"}, "JWT_JWKS_URL is not valid"),
        ({"JWT_JWKS_URL": " https://login.example.com/k"}, "JWT_JWKS_URL is not valid"),
        ({"JWT_JWKS_URL": "https://login.example.com/k "}, "JWT_JWKS_URL is not valid"),
        ({"JWT_JWKS_URL": "https://a:b@login.example.com/k"}, "JWT_JWKS_URL is not valid"),
        (
            {"JWT_JWKS_URL": "http://127.0.0.1:1/k", "AWS_LAMBDA_FUNCTION_NAME": "api"},
            "JWT_JWKS_URL is not valid: it must be https",
        ),
        (
            {"JWT_JWKS_URL": "", "JWT_SECRET": "s" * 32, "JWT_AUDIENCE": ""}
            | {"JWT_AUDIENCE_CLAIM": "azp"},
            "JWT_AUDIENCE is not set: it must be set together with JWT_AUDIENCE_CLAIM",
        ),
        ({"SYNC_API_KEY": "", "SYNC_API_KEY_PARAMETER": " "}, "SYNC_API_KEY_PARAMETER is not"),
        ({"JWT_JWKS_URL": "", "JWT_SECRET_PARAMETER": " "}, "JWT_SECRET_PARAMETER is not valid"),
        ({"JWT_SECRET": "s" * 32}, "JWT_SECRET is not valid: it must be the only one"),
        ({"JWT_SECRET_PARAMETER": "/a"}, "must be the only one"),
        ({"SYNC_API_KEY_PARAMETER": "/a"}, "SYNC_API_KEY is not valid: it must be the only one"),
        ({"AUTH_MODE": "open"}, "AUTH_MODE is not valid"),
    ],
    ids=str,
)
def test_contradicting_settings_are_reported(changes: dict[str, str], message: str) -> None:
    """Missing and contradicting settings are reported."""
    with pytest.raises(Misconfigured) as caught:
        settings.load({**JWKS, **changes})
    assert message in caught.value.detail


@pytest.mark.parametrize(
    "base", ["https://api.sync.so", "", "http://127.0.0.1.example.com", "http://[::1", "http://]"]
)
def test_open_mode_is_refused_with_sync_itself(base: str) -> None:
    """The open mode is refused if the broker would call Sync itself."""
    with pytest.raises(Misconfigured, match="AUTH_MODE is not valid"):
        settings.load({**GOOD, "AUTH_MODE": "open", "SYNC_BASE_URL": base})


OPEN = {
    "AUTH_MODE": "open",
    "SYNC_API_KEY": "the-key",
    "SYNC_BASE_URL": "http://127.0.0.1:8001",
    "UPLOADS_TABLE": "uploads",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", "s" * 32),
        ("JWT_SECRET_PARAMETER", "/a"),
        ("JWT_JWKS_URL", "https://login.example.com/keys.json"),
        ("JWT_ISSUER", "https://login.example.com"),
        ("JWT_AUDIENCE", "uploads"),
        ("ALLOWED_ORIGINS", "*"),
    ],
)
def test_open_mode_is_refused_with_token_settings(name: str, value: str) -> None:
    """The open mode is refused together with a setting that needs tokens."""
    assert settings.load(OPEN).auth_mode == "open"
    with pytest.raises(Misconfigured, match=f"{name} is not valid: it must .* AUTH_MODE is open"):
        settings.load({**OPEN, name: value})


def test_open_mode_is_refused_in_lambda() -> None:
    """The open mode is refused in Lambda, whatever URL the broker calls."""
    sandbox = {**OPEN, "SYNC_BASE_URL": "http://127.0.0.1:8001"}
    assert settings.load(sandbox).auth_mode == "open"
    with pytest.raises(Misconfigured, match="AUTH_MODE is not valid"):
        settings.load({**sandbox, "AWS_LAMBDA_FUNCTION_NAME": "api"})


def test_settings_repr_masks_secrets() -> None:
    """The settings' `repr` has no secrets."""
    shown = repr(settings.load(GOOD))
    assert "the-key" not in shown
    assert "s" * 32 not in shown
    assert "uploads" in shown


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"JWT_SECRET_PARAMETER": "/a", "SYNC_API_KEY_PARAMETER": "/b"},
        {name: JWKS[name] for name in ("JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE")},
        {"AUTH_MODE": "open"},
    ],
    ids=str,
)
def test_environment_replaces_sandbox_settings(chosen: dict[str, str], tmp_path: Path) -> None:
    """Variables that are set before `make run` replace the sandbox's own."""
    ports = Ports(broker=1, upstream=2, dynamodb=3, demo=4)
    loaded = settings.load(environment.for_broker(chosen, ports, tmp_path, "key"))
    assert loaded.jwt_secret_parameter == chosen.get("JWT_SECRET_PARAMETER")
    assert loaded.jwt_jwks_url == chosen.get("JWT_JWKS_URL")
    assert loaded.sync_api_key_parameter == chosen.get("SYNC_API_KEY_PARAMETER")


@pytest.mark.parametrize(
    ("value", "audiences"),
    [
        ("", ()),
        ("uploads", ("uploads",)),
        ("https://a.example, https://b.example", ("https://a.example", "https://b.example")),
        ("a,b,a,", ("a", "b")),
    ],
)
def test_audience_is_a_comma_list(value: str, audiences: tuple[str, ...]) -> None:
    """The audience is a comma list, like the origins."""
    assert settings.load({**GOOD, "JWT_AUDIENCE": value}).jwt_audience == audiences
