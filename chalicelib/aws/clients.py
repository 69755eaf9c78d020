"""boto3's clients of DynamoDB and SSM, made in less time.

Before it makes its first client, botocore below boto3 lists the folders of all 400 services and
reads where each of them is in every region. Where a service is follows from rules that lie beside
its model anyway.
"""

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from chalicelib.core import log
from chalicelib.core.errors import Misconfigured

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

SERVICES = ["dynamodb", "ssm"]
# Other partitions (China, GovCloud) have names of their own; there the whole list is read.
_COMMERCIAL = r"^(us|eu|ap|sa|ca|me|af|il|mx)\-(?!gov|iso)\w+\-\d+$"
# Lambda and AWS's other libraries name the region by the first, botocore alone by the second.
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


@cache
def session() -> "Session":
    """Make the one session, which all clients share."""
    # Imported here, so that a container without settings answers without loading it.
    import re  # noqa: PLC0415 - as above

    from boto3.session import Session  # noqa: PLC0415 - as above
    from botocore.loaders import Loader  # noqa: PLC0415 - as above
    from botocore.session import Session as Core  # noqa: PLC0415 - as above

    made = Core(session_vars={"region": _REGION})

    class LeanLoader(Loader):
        def list_available_services(self, _type_name: str) -> list[str]:
            return SERVICES

        def load_data_with_path(self, name: str) -> tuple[Any, str]:
            region = made.get_config_variable("region") or ""
            if name == "endpoints" and re.match(_COMMERCIAL, region):
                return _ENDPOINTS, self.BUILTIN_DATA_PATH
            found: tuple[Any, str] = super().load_data_with_path(name)
            return found

    made.register_component("data_loader", LeanLoader())
    return Session(botocore_session=made)


def client(service: str, config: "Config") -> Any:
    """Make a client.

    Raises:
        BotoCoreError: What AWS's own settings lack, such as the region.
    """
    made: Any = session()
    return made.client(service, config=config)


@cache
def ssm() -> "SSMClient":
    """Make the SSM client, where a secret lies there."""
    # Imported here: a broker whose secrets lie in its environment needs no SSM.
    from botocore.config import Config  # noqa: PLC0415 - as above

    # At DEBUG botocore writes down whole answers, and those of SSM hold the secrets.
    logging.getLogger("botocore.parsers").setLevel(logging.INFO)
    retries: Any = {"mode": "standard", "total_max_attempts": 2}
    config = Config(connect_timeout=2, read_timeout=3, retries=retries)
    made: SSMClient = client("ssm", config)
    return made


def dynamodb() -> "DynamoDBClient":
    """Make the DynamoDB client, which counts its requests on the request in hand."""
    # Imported here, so that a container without settings answers without loading it.
    from botocore.config import Config  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError, NoRegionError  # noqa: PLC0415 - as above

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
        # Its text names what of AWS's own settings is wrong, such as the endpoint.
        raise Misconfigured(f"AWS's own settings are not valid: {error}") from error
    # At DEBUG botocore writes down whole requests and responses, one of which makes or brings the
    # secret that caller ids are keyed with.
    for name in ("botocore.endpoint", "botocore.parsers"):
        logging.getLogger(name).setLevel(logging.INFO)
    made.meta.events.register("before-send.dynamodb", _sent)
    return made


def _sent(**_: Any) -> None:
    log.dynamodb_sent()
