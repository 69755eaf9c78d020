"""The pages that may use the sandbox besides its demo page: `SANDBOX_ORIGINS`."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from chalicelib.core import urls
from sandbox import gate

# The ports of the usual development servers: Node's examples, Vite's preview, Vite's server.
DEFAULT = tuple(one for port in (3000, 4173, 5173) for one in gate.origins_at(port))


def read(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the origins.

    They must name this machine: the sandbox gives tokens to these pages, and somebody else
    controls where another name points.

    Raises:
        ValueError: The variable is not a list of such origins.
    """
    text = environ.get("SANDBOX_ORIGINS") or ",".join(DEFAULT)
    try:
        found = urls.exact_origins(text)
    except ValueError as error:
        raise ValueError(f"SANDBOX_ORIGINS must be {error}.") from error
    remote = [one for one in found if urlsplit(one).hostname not in urls.LOOPBACK]
    if remote:
        raise ValueError(
            f"SANDBOX_ORIGINS may name pages of this machine only, not {remote[0]}. To let another"
            " page upload with a token of your own, name it in ALLOWED_ORIGINS."
        )
    return found


def of_pages(environ: Mapping[str, str], demo_port: int) -> tuple[str, ...]:
    """Return the origins of all pages that may use the sandbox, beginning with the demo page.

    Raises:
        ValueError: `SANDBOX_ORIGINS` is invalid.
    """
    return tuple(dict.fromkeys([*gate.origins_at(demo_port), *read(environ)]))
