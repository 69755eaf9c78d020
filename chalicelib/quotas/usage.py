"""What a caller has used of the quotas, and the errors and headers that report it. Pure.

One item for each caller counts the open uploads, and for each day (UTC) the uploads that began. An
upload is reserved by one atomic write, before Sync is asked:

    open                    uploads that have not ended
    uploads#<day>           uploads begun on the day
    bytes#<day>             their bytes, as declared, corrected when the real size is known
    refunds#<day>           public URLs of the day that Sync refused and that cost nothing
    creating#<uploadId>     a reservation whose upload is not written yet

Writing the upload removes its reservation in the same transaction. If the process is killed before,
the caller's next request releases the reservation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from chalicelib.core import wording
from chalicelib.core.clock import DAY, DAY_SECONDS, REQUEST_OVER_AFTER, SECOND
from chalicelib.core.errors import QuotaExceeded
from chalicelib.quotas.limits import Limits

OPEN_RETRY_AFTER = 60  # seconds; nobody knows when one of the open uploads ends
MOST_REFUNDS = 10  # for one caller in a day


@dataclass(frozen=True)
class Reservation:
    """The quota of an upload that is not written yet.

    Attributes:
        upload_id: The upload.
        at: When it was reserved, in milliseconds since 1970.
        size: The declared bytes.
    """

    upload_id: str
    at: int
    size: int


@dataclass(frozen=True)
class Usage:
    """What a caller has used.

    Attributes:
        open: Uploads that have not ended, reservations included.
        uploads: Uploads begun today.
        bytes: Their bytes.
        reservations: Those that are not written yet.
        outdated: Names of the attributes of days before yesterday. Yesterday's stay, because an
            upload that began before midnight may end after it, and a clock may be ahead.
    """

    open: int
    uploads: int
    bytes: int
    reservations: tuple[Reservation, ...]
    outdated: tuple[str, ...]

    def stale(self, now: int) -> tuple[Reservation, ...]:
        """Return the reservations whose requests must have been killed, since they are over."""
        return tuple(one for one in self.reservations if now - one.at > REQUEST_OVER_AFTER)

    def without_stale(self, now: int) -> "Usage":
        """Return the usage without the reservations of killed requests."""
        stale = self.stale(now)
        today = [one for one in stale if day_of(one.at) == day_of(now)]
        return replace(
            self,
            open=self.open - len(stale),
            uploads=self.uploads - len(today),
            bytes=self.bytes - sum(one.size for one in today),
            reservations=tuple(one for one in self.reservations if one not in stale),
        )


def day_of(milliseconds: int) -> str:
    """Return the day (UTC), as 2026-11-22."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()


def seconds_left(now: int) -> int:
    """Return the seconds until the day (UTC) is over."""
    return math.ceil((DAY - now % DAY) / SECOND)


def read_usage(plain: Mapping[str, object], day: str) -> Usage:
    """Return a caller's item, which may be empty, as usage."""
    yesterday = _day_before(day)
    numbers: dict[str, int] = {}
    reservations = []
    for name, value in plain.items():
        if name.startswith("creating#"):
            at, _, size = str(value).partition("#")
            reservations.append(Reservation(name.removeprefix("creating#"), int(at), int(size)))
        elif name != "pk":
            numbers[name] = int(str(value))
    return Usage(
        open=numbers.get("open", 0),
        uploads=numbers.get(f"uploads#{day}", 0),
        bytes=numbers.get(f"bytes#{day}", 0),
        reservations=tuple(reservations),
        outdated=tuple(
            name for name in numbers if name != "open" and name.partition("#")[2] < yesterday
        ),
    )


@lru_cache(maxsize=4)
def _day_before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def refusal(used: Usage, limits: Limits, size: int, now: int) -> QuotaExceeded:
    """Return the error for an upload of a size that was refused."""
    headers = rate_limit(used, limits, now)
    left = seconds_left(now)
    if 0 in {limits.max_open_uploads, limits.uploads_per_day, limits.bytes_per_day}:
        # Finishing an upload, or waiting, would not help.
        return QuotaExceeded(
            "You can't upload anything here. Ask those who run this service.",
            retry_after=left,
            headers=headers,
        )
    if used.open >= limits.max_open_uploads:
        return QuotaExceeded(
            f"You have {_uploads(used.open)} that did not finish, and {limits.max_open_uploads} "
            "can be open at once. Finish or cancel one, then try again.",
            retry_after=OPEN_RETRY_AFTER,
            headers=headers,
        )
    if used.uploads >= limits.uploads_per_day:
        detail = (
            f"You have started {_uploads(used.uploads)} today, which is all that you can. "
            f"Try again {wording.wait(left)}."
        )
        return QuotaExceeded(detail, retry_after=left, headers=headers)
    most = wording.size(limits.bytes_per_day or 0)
    more = f", and this file is {wording.size(size)}" if size else ""
    return QuotaExceeded(
        f"You have uploaded {wording.size(max(0, used.bytes))} of the {most} that you can upload "
        f"in a day{more}. Try again {wording.wait(left)}.",
        retry_after=left,
        headers=headers,
    )


def _uploads(number: int) -> str:
    return "1 upload" if number == 1 else f"{number} uploads"


def rate_limit(used: Usage, limits: Limits, now: int) -> dict[str, str]:
    """Return what is left as headers (draft-ietf-httpapi-ratelimit-headers)."""
    left = seconds_left(now)
    policy = [
        f'"open";q={limits.max_open_uploads}',
        f'"day";q={limits.uploads_per_day};w={DAY_SECONDS}',
    ]
    state = [
        f'"open";r={max(0, limits.max_open_uploads - used.open)}',
        f'"day";r={max(0, limits.uploads_per_day - used.uploads)};t={left}',
    ]
    if limits.bytes_per_day is not None:
        policy.append(f'"bytes";q={limits.bytes_per_day};qu="content-bytes";w={DAY_SECONDS}')
        state.append(f'"bytes";r={max(0, limits.bytes_per_day - used.bytes)};t={left}')
    return {"RateLimit-Policy": ", ".join(policy), "RateLimit": ", ".join(state)}
