"""The pages that may use the sandbox beside its demo page: `SANDBOX_ORIGINS`."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from chalicelib.core import urls
from sandbox import gate

# Where the usual development servers listen: Node's own examples, and Vite's preview and server.
DEFAULT = tuple(one for port in (3000, 4173, 5173) for one in gate.origins_at(port))


def read(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read the origins.

    Only names of this machine are taken: the sandbox gives tokens to these pages, and what another
    name points to is up to somebody else.

    Raises:
        ValueError: The variable is no list of such origins.
    """
    text = environ.get("SANDBOX_ORIGINS") or ",".join(DEFAULT)
    try:
        found = urls.exact_origins(text)
    except ValueError as error:
        raise ValueError(f"SANDBOX_ORIGINS must be {error}.") from error
    strange = [one for one in found if urlsplit(one).hostname not in urls.LOOPBACK]
    if strange:
        raise ValueError(
            f"SANDBOX_ORIGINS may name pages of this machine only, not {strange[0]}. To let another"
            " page upload with a token of your own, name it in ALLOWED_ORIGINS."
        )
    return found


def of_pages(environ: Mapping[str, str], demo_port: int) -> tuple[str, ...]:
    """Return the origins of all pages that may use the sandbox, the demo page's first.

    Raises:
        ValueError: `SANDBOX_ORIGINS` can't be used.
    """
    return tuple(dict.fromkeys([*gate.origins_at(demo_port), *read(environ)]))
