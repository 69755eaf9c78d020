"""The hosts of Sync's storage, whose files can't be registered as public URLs."""

from urllib.parse import urlsplit

from chalicelib.core import errors, log
from chalicelib.ratelimit.registrations import RegistrationLimiter
from chalicelib.syncapi.models import Presigned
from chalicelib.uploads import public_urls


class StorageHosts:
    """The hosts that the settings name, and those that any container's presign has named.

    Args:
        configured: The hosts of the settings.
        limiter: Keeps the others, in the item that each registration reads anyway.
    """

    def __init__(self, configured: tuple[str, ...], limiter: RegistrationLimiter) -> None:
        self._configured = frozenset(configured)
        self._limiter = limiter

    @property
    def known(self) -> frozenset[str]:
        """All hosts, as far as this container knows."""
        return self._configured | self._limiter.storage_hosts

    def learn(self, presigned: Presigned) -> None:
        """Let all containers know the hosts that a presign named."""
        named = {urlsplit(one).netloc.lower() for one in (presigned.url, presigned.upload_url)}
        if new := named - self.known:
            log.event("storage_host_unknown", level=30, hosts=sorted(new))
            self._limiter.learn_storage_hosts(new)

    def refuse(self, url: str) -> None:
        """Refuse a URL at a storage host, such as one that was learnt since the URL was checked.

        Raises:
            InvalidInput: The URL is in Sync's storage.
        """
        if detail := public_urls.storage_refusal(url, self.known):
            raise errors.InvalidInput(
                public_urls.in_words(detail),
                errors=({"pointer": "/url", "detail": detail},),
            )
