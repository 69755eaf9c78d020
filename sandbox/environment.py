"""What each part of the sandbox is told, so that none can reach anything but this machine."""

from collections.abc import Mapping
from pathlib import Path

from sandbox.ports import HOST, Ports

TABLE = "uploads"
API_KEY = "sandbox-key"
# Everybody on this machine can get a token from the demo page anyway.
JWT_SECRET = "sandbox-only-secret-never-use-it-elsewhere"  # noqa: S105 - as above

_IN_PLACE_OF = {
    "JWT_SECRET": ("JWT_SECRET_PARAMETER", "JWT_JWKS_URL"),
    "SYNC_API_KEY": ("SYNC_API_KEY_PARAMETER",),
}


def for_parts(environ: Mapping[str, str], ports: Ports, folder: Path) -> dict[str, str]:
    """Return the environment of the broker, the upstream and the demo page.

    A setting that is there already wins, so that a part can be replaced; only AWS's own variables
    are always the sandbox's, because a developer's real account must stay out of reach.
    """
    defaults = {
        "ALLOWED_ORIGINS": "*",
        "AUTH_MODE": "jwt",
        "JWT_SECRET": JWT_SECRET,
        "PUBLIC_URL_EXCEPTIONS": _demo_origins(ports),
        "SYNC_API_KEY": API_KEY,
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
        "PYTHONUNBUFFERED": "1",
    }


def for_broker(environ: Mapping[str, str], ports: Ports, folder: Path) -> dict[str, str]:
    """Return the environment of the broker alone.

    What is set in place of one of the sandbox's own defaults takes that one's place; both at once
    would contradict each other. The demo page may call it, whichever origins are set.
    """
    own = for_parts(environ, ports, folder)
    for name, others in _IN_PLACE_OF.items():
        if not environ.get(name) and any(environ.get(other) for other in others):
            del own[name]
    if own["AUTH_MODE"] == "open":
        # No token is asked for, so no secret is needed, and only the demo page may call.
        plain = {"JWT_SECRET": "", "ALLOWED_ORIGINS": _demo_origins(ports)}
        own |= {name: value for name, value in plain.items() if not environ.get(name)}
    own["ALLOWED_ORIGINS"] = _with_demo(own["ALLOWED_ORIGINS"], ports)
    return own


def _with_demo(origins: str, ports: Ports) -> str:
    """Let the demo page in too, which is useless otherwise."""
    if origins.strip() == "*":
        return origins
    listed = [one.strip() for one in origins.split(",")]
    return ",".join(dict.fromkeys([*listed, *_demo_origins(ports).split(",")]))


def _demo_origins(ports: Ports) -> str:
    return f"http://{HOST}:{ports.demo},http://localhost:{ports.demo}"


def for_dynamodb(environ: Mapping[str, str], ports: Ports, folder: Path) -> dict[str, str]:
    """Return the environment of the DynamoDB emulator.

    It listens on every interface unless told otherwise, and writes what it holds when it is
    stopped.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(ports.dynamodb),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "dynamodb"),
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }
