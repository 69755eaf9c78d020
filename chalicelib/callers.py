"""Who asks, and what they may do. Pure values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one caller may upload.

    Attributes:
        max_upload_bytes: Largest file, in bytes.
        content_types: Accepted types, each exact or with a wildcard (`video/*`).
        project_ids: Projects that the caller may name.
    """

    max_upload_bytes: int
    content_types: tuple[str, ...]
    project_ids: frozenset[str]

    def accepts(self, content_type: str) -> bool:
        """Say whether a content type, whatever its parameters, is accepted."""
        essence = content_type.partition(";")[0].strip().lower()
        family = essence.partition("/")[0] + "/*"
        return any(accepted in (essence, family, "*/*") for accepted in self.content_types)


@dataclass(frozen=True)
class Caller:
    """A user of the broker.

    Attributes:
        id: Hash of the token's issuer and subject, 32 hex digits. It stands in records and logs
            in place of the subject, which may be an e-mail address.
        limits: What this caller may do.
    """

    id: str
    limits: Limits
