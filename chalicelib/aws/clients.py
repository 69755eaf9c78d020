"""boto3's clients of DynamoDB and SSM, made in less time.

Before its first client, botocore lists the folders of all 400 services and reads their endpoints in
all regions. Here it gets a list of two services and a small set of endpoint rules, which give the
same URLs. They replace inner parts of botocore. If those have changed, the clients are plain ones.
"""

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from chalicelib.core import log
from chalicelib.core.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from boto3.session import Session
    from botocore.config import Config
    from botocore.session import Session as CoreSession
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

SERVICES = ["dynamodb", "ssm"]
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


def _core_session() -> "CoreSession":
    # Imported here, so that a container without settings responds without loading it.
    from botocore.session import Session  # noqa: PLC0415 - as above

    return Session(session_vars={"region": _REGION})


@cache
def session() -> "Session":
    """Return the fast session, which all clients share."""
    import re  # noqa: PLC0415 - as for botocore

    from boto3.session import Session  # noqa: PLC0415 - as for botocore
    from botocore.loaders import Loader  # noqa: PLC0415 - as for botocore

    core = _core_session()

    class FastLoader(Loader):
        def list_available_services(self, _type_name: str) -> list[str]:
            return SERVICES

        def load_data_with_path(self, name: str) -> tuple[Any, str]:
            region = core.get_config_variable("region") or ""
            if name == "endpoints" and re.match(_COMMERCIAL, region):
                return _ENDPOINTS, self.BUILTIN_DATA_PATH
            found: tuple[Any, str] = super().load_data_with_path(name)
            return found

    core.register_component("data_loader", FastLoader())
    return Session(botocore_session=core)


def _plain_session() -> "Session":
    """Return a session that replaces nothing inside botocore."""
    from boto3.session import Session  # noqa: PLC0415 - as for botocore

    return Session(botocore_session=_core_session())


def client(service: str, config: "Config", fast: "Callable[[], Session]" = session) -> Any:
    """Return a client of the fast session, or of the plain one if the fast one can't make it.

    Raises:
        BotoCoreError: AWS's own settings are wrong or lack something, such as the region.
    """
    made: Any
    try:
        made = fast()
        return made.client(service, config=config)
    except Exception:  # noqa: BLE001 - what a changed botocore raises is not known
        # If the settings are wrong, this raises the same again.
        made = _plain_session()
        return made.client(service, config=config)


@cache
def ssm() -> "SSMClient":
    """Return the SSM client."""
    # Imported here, because a broker with its secrets in its environment needs no SSM.
    from botocore.config import Config  # noqa: PLC0415 - as above

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
    from botocore.config import Config  # noqa: PLC0415 - as for botocore
    from botocore.exceptions import BotoCoreError, NoRegionError  # noqa: PLC0415 - as for botocore

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
