"""What each part of the sandbox is told, so that none can reach anything but this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from sandbox import gate, origins
from sandbox.ports import HOST, Ports

TABLE = "uploads"
# Everybody on this machine can get a token from the demo page anyway.
JWT_SECRET = "sandbox-only-secret-never-use-it-elsewhere"  # noqa: S105 - as above

ROOT = Path(__file__).parent.parent
# It is run by its own environment's Python, in the project's folder.
DYNAMODB = (str(ROOT / ".venv-ministack" / "bin" / "python"), "-m", "sandbox.dynamodb")

_IN_PLACE_OF = {
    "JWT_SECRET": ("JWT_SECRET_PARAMETER", "JWT_JWKS_URL"),
    "SYNC_API_KEY": ("SYNC_API_KEY_PARAMETER",),
}


def for_parts(
    environ: Mapping[str, str], ports: Ports, folder: Path, api_key: str = ""
) -> dict[str, str]:
    """Return the environment of the broker, the upstream and the demo page.

    A setting that is there already wins, so that a part can be replaced; only AWS's own variables
    are always the sandbox's, because a developer's real account must stay out of reach.

    Args:
        environ: The developer's own environment.
        ports: Where the parts listen.
        folder: Where they keep their data.
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
        # A proxy that the machine is set up with must not see what stays on it.
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
    """Return the environment of the broker alone.

    What is set in place of one of the sandbox's own defaults takes that one's place; both at once
    would contradict each other. The sandbox's pages may call it, whichever origins are set.
    """
    own = for_parts(environ, ports, folder, api_key)
    for name, others in _IN_PLACE_OF.items():
        if not environ.get(name) and any(environ.get(other) for other in others):
            del own[name]
    if own["AUTH_MODE"] == "open" and not environ.get("JWT_SECRET"):
        own["JWT_SECRET"] = ""  # No token is asked for, so no secret is needed.
    own["ALLOWED_ORIGINS"] = _with_pages(own["ALLOWED_ORIGINS"], environ, ports)
    return own


def _with_pages(allowed: str, environ: Mapping[str, str], ports: Ports) -> str:
    """Let the sandbox's pages in too, the demo page being useless otherwise."""
    if allowed.strip() == "*":
        return allowed
    listed = [one.strip() for one in allowed.split(",")]
    return ",".join(dict.fromkeys([*listed, *origins.of_pages(environ, ports.demo)]))


def for_dynamodb(ports: Ports, folder: Path) -> dict[str, str]:
    """Return the whole environment of the DynamoDB emulator, with nothing of the developer's.

    It can run code, so it must not know what is worth stealing; and it does nothing that this does
    not name: it plays one service, opens no further port, and asks no Docker daemon for anything.
    It writes what it holds when it is stopped.
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
