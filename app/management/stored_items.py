"""The score files and upload parts to which the rows of a database refer, for copies in another folder or bucket."""

from __future__ import annotations

import hashlib
from errno import EIO
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from app.db.models import File
from app.db.uploads import Upload
from app.errors import DamagedFileError
from app.management.damage import open_parts, part_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session

    from app.submissions.storage import Storage


class Item(NamedTuple):
    """A score file or an upload part of an open upload: what messages call it, its keys at both places, SHA-256 and size."""

    name: str
    source: str
    target: str
    sha256: str
    size: int


def stored_items(session: Session, source: Storage, target: Storage) -> list[Item]:
    """Return the score files of all rows, and the received parts of all open uploads."""
    files = session.execute(select(File.sha256, File.size).order_by(File.sha256)).all()
    items = [Item(f"file {sha256}", source.key(sha256), target.key(sha256), sha256, size) for sha256, size in files]
    for part in open_parts(session):
        upload = session.get_one(Upload, part.submission_id)
        name = f"upload part {part.number} of the upload {part.submission_id}"
        keys = part_key(source, part), part_key(target, part)
        items.append(Item(name, *keys, part.sha256, upload.part_size(part.number)))
    return items


def read_verified(storage: Storage, item: Item, advance: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the bytes of an item, and call `advance` with the size of each chunk.

    Raises
    ------
    DamagedFileError
        At the end: the SHA-256 of the bytes is not the one of the item's row (``damaged``). Or the storage does not hold the item
        (``lost``).
    """
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in storage.read(item.source):
            digest.update(chunk)
            size += len(chunk)
            if size > item.size:
                raise DamagedFileError("damaged")
            advance(len(chunk))
            yield chunk
    except FileNotFoundError:
        raise DamagedFileError("lost") from None
    except OSError as error:
        if error.errno != EIO:  # a damaged disk
            raise
        raise DamagedFileError("damaged") from None
    if digest.hexdigest() != item.sha256:
        raise DamagedFileError("damaged")
