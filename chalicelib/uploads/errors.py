"""Failures of uploads that a caller can meet."""

from chalicelib.core.errors import NotFound, RequestError


def no_such_upload() -> NotFound:
    """Return the error for an upload, or an asset, that the caller does not have."""
    return NotFound("There is no such upload, or it belongs to somebody else.")


class FileNotUploaded(RequestError):
    """Sync does not see the file's bytes yet."""

    status = 409
    code = "file_not_uploaded"
    title = "The file has not been uploaded yet"
    retryable = True


class UploadBusy(RequestError):
    """A registration is running; the upload may be pending again after it."""

    status = 409
    code = "upload_busy"
    title = "The upload is being registered"
    retryable = True


class UploadNotPending(RequestError):
    """The upload is not pending any more."""

    status = 409
    code = "upload_not_pending"
    title = "The upload is no longer pending"


class UploadCancelled(RequestError):
    """The caller cancelled the upload."""

    status = 410
    code = "upload_cancelled"
    title = "The upload was cancelled"


class UploadExpired(RequestError):
    """The upload's time ended without a file."""

    status = 410
    code = "upload_expired"
    title = "The upload has expired"


class FileTooLarge(RequestError):
    """The file is larger than the caller, the broker or the plan allows."""

    status = 413
    code = "file_too_large"
    title = "The file is too large"


class FileEmpty(RequestError):
    """The file is empty: its declared size, or the size that Sync counted, is 0."""

    status = 422
    code = "file_empty"
    title = "The file is empty"


class ContentTypeNotAccepted(RequestError):
    """The caller may not upload files of this content type."""

    status = 422
    code = "content_type_not_accepted"
    title = "This kind of file is not accepted"


class ProjectNotFound(RequestError):
    """Sync does not know the project."""

    status = 422
    code = "project_not_found"
    title = "The project does not exist"


class FileRejected(RequestError):
    """Sync refused the file or the URL for good."""

    status = 422
    code = "file_rejected"
    title = "Sync refused the file"


class UrlTimeout(RequestError):
    """The outcome of registering a public URL stayed ambiguous twice."""

    status = 422
    code = "url_timeout"
    title = "Sync could not fetch the URL in time"


class TooManyUnknownUrls(RequestError):
    """Too many public URLs are being registered, or have an ambiguous outcome."""

    status = 429
    code = "too_many_unknown_urls"
    title = "Too many public URLs at once"
    retryable = True
