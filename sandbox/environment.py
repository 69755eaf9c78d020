"""The environment of each part of the sandbox, which keeps all traffic on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from sandbox import gate, origins
from sandbox.ports import HOST, Ports

TABLE = "uploads"
# The secret is public: every program on this machine can get a token from the demo page anyway.
JWT_SECRET = "sandbox-only-secret-never-use-it-elsewhere"  # noqa: S105 - as above

ROOT = Path(__file__).parent.parent
# The emulator has a separate virtual environment.
DYNAMODB = (str(ROOT / ".venv-ministack" / "bin" / "python"), "-m", "sandbox.dynamodb")

_ALTERNATIVES = {
    "JWT_SECRET": ("JWT_SECRET_PARAMETER", "JWT_JWKS_URL"),
    "SYNC_API_KEY": ("SYNC_API_KEY_PARAMETER",),
}


def for_parts(
    environ: Mapping[str, str], ports: Ports, folder: Path, api_key: str = ""
) -> dict[str, str]:
    """Return the environment of the broker, the upstream and the demo page.

    The developer's settings override the defaults, so that a part can be replaced. The variables
    of AWS are always the sandbox's, because it must not reach the developer's account.

    Args:
        environ: The developer's environment.
        ports: The ports of the parts.
        folder: The folder for their data.
        api_key: The upstream's key, unless the environment has one.

    Raises:
        ValueError: `SANDBOX_ORIGINS` can't be used.
    """
    pages = ",".join(origins.of_pages(environ, ports.demo))
    defaults = {
        "ALLOWED_ORIGINS": pages,
        "AUTH_MODE": "jwt",
        "JWT_SECRET": JWT_SECRET,
        "PUBLIC_URL_EXCEPTIONS": ",".join(gate.origins_at(ports.demo)),
        "SANDBOX_ORIGINS": ",".join(origins.read(environ)),
        "SYNC_API_KEY": api_key,
        "SYNC_BASE_URL": f"http://{HOST}:{ports.upstream}",
        "SYNC_STORAGE_HOSTS": f"{HOST}:{ports.upstream},localhost:{ports.upstream}",
        "UPLOADS_TABLE": TABLE,
    }
    kept = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
    return {
        **defaults,
        **{name: value for name, value in kept.items() if value},
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{HOST}:{ports.dynamodb}",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A configured proxy must not see traffic that stays on this machine.
        "NO_PROXY": "*",
        "no_proxy": "*",
        "BROKER_PORT": str(ports.broker),
        "UPSTREAM_PORT": str(ports.upstream),
        "DYNAMODB_PORT": str(ports.dynamodb),
        "DEMO_PORT": str(ports.demo),
        "SANDBOX_DIR": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }


def for_broker(
    environ: Mapping[str, str], ports: Ports, folder: Path, api_key: str
) -> dict[str, str]:
    """Return the environment of the broker.

    If the developer sets an alternative to one of the sandbox's defaults, the default is left
    out, since the broker refuses both at once. The sandbox's pages may always call the broker.
    """
    own = for_parts(environ, ports, folder, api_key)
    for name, others in _ALTERNATIVES.items():
        if not environ.get(name) and any(environ.get(other) for other in others):
            del own[name]
    if own["AUTH_MODE"] == "open" and not environ.get("JWT_SECRET"):
        own["JWT_SECRET"] = ""  # Open mode checks no tokens, so it needs no secret.
    own["ALLOWED_ORIGINS"] = _with_pages(own["ALLOWED_ORIGINS"], environ, ports)
    return own


def _with_pages(allowed: str, environ: Mapping[str, str], ports: Ports) -> str:
    """Return the allowed origins with the sandbox's pages, which the demo page needs."""
    if allowed.strip() == "*":
        return allowed
    listed = [one.strip() for one in allowed.split(",")]
    return ",".join(dict.fromkeys([*listed, *origins.of_pages(environ, ports.demo)]))


def for_dynamodb(ports: Ports, folder: Path) -> dict[str, str]:
    """Return the whole environment of the DynamoDB emulator.

    The emulator can run code, so it gets nothing of the developer's environment. It runs one
    service on one port, does not use Docker, and writes its data to disk when it stops.
    """
    own = folder / "dynamodb"
    return {
        "PATH": os.defpath,
        "HOME": str(own / "home"),
        "TMPDIR": str(own / "tmp"),
        "GATEWAY_PORT": str(ports.dynamodb),
        "SERVICES": "dynamodb",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(own),
        "DOCKER_HOST": f"unix://{own}/no-docker",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "NO_PROXY": "*",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
