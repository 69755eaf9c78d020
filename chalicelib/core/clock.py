"""Units of time. Times are whole milliseconds since 1970 (UTC), as they are stored."""

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
