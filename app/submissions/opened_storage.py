"""Opening the storage that the operator's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.submissions.folder_storage import FolderStorage

if TYPE_CHECKING:
    from app.settings import Settings
    from app.submissions.storage import Storage


def open_storage(settings: Settings) -> Storage:
    """Open the folder or the bucket of the score files.

    Raises
    ------
    RuntimeError
        The bucket cannot be used, or the package obstore is not installed.
    """
    if settings.bucket is None:
        return FolderStorage(settings.storage_dir, settings.spare_bytes)
    try:
        from app.submissions.s3_storage import S3Storage  # noqa: PLC0415 -- a folder does not need the package obstore
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise RuntimeError("LDSBOARD_STORAGE_URL begins with s3://, which needs the Python package obstore.") from None
    return S3Storage.open(settings, *settings.bucket)
