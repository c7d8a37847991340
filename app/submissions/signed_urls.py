"""The check that a signed URL of an upload part allows no more than to write this part."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

from app.db.base import random_id
from app.errors import StorageAwayError

if TYPE_CHECKING:
    from app.submissions.storage import Storage

REFUSALS = (httpx.codes.BAD_REQUEST, httpx.codes.FORBIDDEN)
"""Answers of a store that refuses a request because of its signature."""


def check_signed_urls(storage: Storage) -> None:
    """Check that the store refuses a request with a signed URL and a header that makes the store copy another object there.

    The signature covers method, host and key. S3 refuses further headers ``x-amz-…``, but not every store did: on such a store,
    the sender of an upload part could copy there the score file of another user, whose SHA-256 is public, and submit it.

    Raises
    ------
    RuntimeError
        The store copies the object, ignores the header, or does not answer.
    """
    probe, content = random_id(), b"probe"
    source, target = (storage.part_url(probe, number, "probe", inside=True) for number in range(2))
    try:
        storage.write(storage.part_key(probe, 0, "probe"), iter([content]), len(content))
        headers = {"x-amz-copy-source": httpx.URL(source).path}
        answer = httpx.put(target, headers=headers, timeout=10, verify=ssl.create_default_context())
    except (httpx.TransportError, StorageAwayError) as error:
        raise RuntimeError(f"The store of LDSBOARD_STORAGE_URL does not answer ({error}).") from None
    finally:
        storage.delete_parts(probe)
    if answer.status_code not in REFUSALS:
        raise RuntimeError(
            "The store of LDSBOARD_STORAGE_URL does not refuse the header x-amz-copy-source in a request whose signature does "
            "not cover it. The sender of an upload part could submit the score files of others. Update the store, or unset "
            "LDSBOARD_STORAGE_PUBLIC_URL."
        )
