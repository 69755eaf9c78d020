"""The hosts of Sync's storage, whose files can't be registered as public URLs."""

from chalicelib.aws.shared_item import SharedItem
from chalicelib.aws.table import Change
from chalicelib.core import errors, log, urls
from chalicelib.syncapi.models import Presigned
from chalicelib.uploads import public_urls


class StorageHosts:
    """The hosts that the settings name, and those that any container's presign has named.

    Args:
        configured: The hosts of the settings.
        item: Keeps the others in its attribute `hosts`. It is the item that each registration
            writes anyway, so that a registration knows all of them.
    """

    def __init__(self, configured: tuple[str, ...], item: SharedItem) -> None:
        self._configured = frozenset(configured)
        self._item = item

    @property
    def known(self) -> frozenset[str]:
        """All hosts, as far as this container knows."""
        learnt = self._item.copy.get("hosts", {}).get("SS", ())
        return self._configured.union(learnt)

    def learn(self, presigned: Presigned) -> None:
        """Let all containers know the hosts that a presign named."""
        named = {host for one in (presigned.url, presigned.upload_url) if (host := urls.host(one))}
        if new := named - self.known:
            log.event("storage_host_unknown", level=30, hosts=sorted(new))
            self._item.write(Change(pk=self._item.pk, adds={"hosts": frozenset(new)}))

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
