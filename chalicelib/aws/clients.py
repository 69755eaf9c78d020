"""Clients of DynamoDB and SSM: those of boto3, made in less time.

boto3's clients are botocore's, so boto3's resources and S3 transfers are not imported. Before its
first client, botocore lists the folders of all 400 services and reads their endpoints in all
regions. Here it gets a list of two services and a small set of endpoint rules, which give the same
URLs. For each connection it parses all trusted certificates. Here all connections share one TLS
context. All of this replaces inner parts of botocore. If those have changed, the clients are
boto3's own.
"""

import logging
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError
from botocore.loaders import Loader
from botocore.session import Session

from chalicelib.core import log, tls
from chalicelib.core.errors import Misconfigured

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

SERVICES = ["dynamodb", "ssm"]
# botocore calls these for the credentials of some profiles, elsewhere than on Lambda.
_OF_CREDENTIALS = ["sso", "sso-oidc", "sts"]
# Other partitions (China, GovCloud) have other host names. There botocore reads its own endpoints.
_COMMERCIAL = r"^(us|eu|ap|sa|ca|me|af|il|mx)\-(?!gov|iso)\w+\-\d+$"
# Lambda and AWS's other SDKs read the first variable, botocore alone only the second.
_REGION: Any = ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None)
_ENDPOINTS: dict[str, Any] = {
    "version": 3,
    "partitions": [
        {
            "partition": "aws",
            "dnsSuffix": "amazonaws.com",
            "regionRegex": _COMMERCIAL,
            "defaults": {
                "hostname": "{service}.{region}.{dnsSuffix}",
                "protocols": ["https"],
                "signatureVersions": ["v4"],
            },
            "regions": {},
            "services": {service: {"endpoints": {}} for service in SERVICES},
        }
    ],
}


class _FastLoader(Loader):
    """Loads botocore's data, without what the two services do not need."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def list_available_services(self, _type_name: str) -> list[str]:
        return [*SERVICES, *_OF_CREDENTIALS]

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        region = self._session.get_config_variable("region") or ""
        if name == "endpoints" and re.match(_COMMERCIAL, region):
            return _ENDPOINTS, self.BUILTIN_DATA_PATH
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found


def _session() -> Session:
    return Session(session_vars={"region": _REGION})


@cache
def session() -> Session:
    """Return the fast session, which all clients share."""
    made = _session()
    made.register_component("data_loader", _FastLoader(made))
    return made


def client(service: str, config: Config, fast: Callable[[], Session] = session) -> Any:
    """Return a client of the fast session, or boto3's own if the fast one can't make it.

    Raises:
        BotoCoreError: AWS's own settings are wrong or lack something, such as the region.
    """
    made: Any
    try:
        made = fast().create_client(service, config=config)
        _share_tls_context(made._endpoint.http_session)  # noqa: SLF001 - there is no setting for it
    except Exception:  # noqa: BLE001 - what a changed botocore raises is not known
        # Imported here, because it is needed only if botocore has changed.
        import boto3  # noqa: PLC0415 - as above

        # If the settings are wrong, this raises the same again.
        made = boto3.Session(botocore_session=_session()).client(service, config=config)  # type: ignore[call-overload]
    return made


def _share_tls_context(http: Any) -> None:
    """Let a client's connections trust the shared context, unless a variable names other roots."""
    if http._verify is not True:  # noqa: SLF001 - as in `client`
        return

    def trust(connection: Any, _url: str, _verify: object) -> None:
        # Without `ca_certs`, urllib3 adds no certificates to the context's own.
        connection.cert_reqs = "CERT_REQUIRED"

    http._manager.connection_pool_kw["ssl_context"] = tls.context()  # noqa: SLF001 - as above
    http._get_ssl_context = tls.context  # noqa: SLF001 - as above; for proxies
    http._setup_ssl_cert = trust  # noqa: SLF001 - as above


@cache
def ssm() -> "SSMClient":
    """Return the SSM client."""
    # At DEBUG botocore logs whole responses, and those of SSM hold the secrets.
    logging.getLogger("botocore.parsers").setLevel(logging.INFO)
    # `secrets.Parameters` repeats the calls, with other pauses than botocore's.
    retries: Any = {"mode": "standard", "total_max_attempts": 1}
    config = Config(connect_timeout=1, read_timeout=3, retries=retries)
    made: SSMClient = client("ssm", config)
    return made


def dynamodb() -> "DynamoDBClient":
    """Return a new DynamoDB client. Its requests are counted in the current request's log line.

    Raises:
        Misconfigured: AWS's own settings are wrong or lack something, such as the region.
    """
    config = Config(
        connect_timeout=1,
        read_timeout=2,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=32,
    )
    try:
        made: DynamoDBClient = client("dynamodb", config)
    except NoRegionError as error:
        raise Misconfigured(
            "AWS_REGION is not set: it must be the region of the table, such as us-east-1"
        ) from error
    except (BotoCoreError, ValueError) as error:
        # Its text names the wrong setting, such as the endpoint.
        raise Misconfigured(f"AWS's own settings are not valid: {error}") from error
    # At DEBUG botocore logs whole requests and responses, and one of them has the secret of the
    # caller ids.
    for name in ("botocore.endpoint", "botocore.parsers"):
        logging.getLogger(name).setLevel(logging.INFO)
    made.meta.events.register("before-send.dynamodb", _sent)
    return made


def _sent(**_: Any) -> None:
    log.dynamodb_sent()
