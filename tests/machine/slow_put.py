"""A slow PUT: storage checks the upload URL at its start, not at its end."""

import http.client
from urllib.parse import urlsplit


class SlowPut:
    """A PUT that has sent its head and half of its body.

    Args:
        url: The upload URL.
        data: The body.
    """

    def __init__(self, url: str, data: bytes) -> None:
        parts = urlsplit(url)
        half = len(data) // 2
        self._rest = data[half:]
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        self._connection.putrequest("PUT", f"{parts.path}?{parts.query}")
        self._connection.putheader("Content-Type", "video/mp4")
        self._connection.putheader("Content-Length", str(len(data)))
        self._connection.endheaders()
        self._connection.send(data[:half])

    def finish(self) -> int:
        """Send the rest, and return the status of the response; 0 if the PUT was refused."""
        try:
            self._connection.send(self._rest)
            status = self._connection.getresponse().status
        except (ConnectionError, http.client.HTTPException):
            return 0  # Storage refused the PUT at its start.
        finally:
            self.close()
        return status

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
