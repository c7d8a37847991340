"""The address of a bucket in an S3-compatible store, as in ``LDSBOARD_STORAGE_URL``: ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pydantic import SecretStr

SCHEME = "s3://"

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""The names of buckets."""

PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
"""The prefixes of keys whose characters every store takes as they are."""

ENDPOINT = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")
"""URLs of stores, which contain no credentials."""


class Bucket(NamedTuple):
    """A bucket, and the first components of all keys in it; an empty prefix is the whole bucket."""

    name: str
    prefix: str


def parse_bucket(url: str, name: str = "LDSBOARD_STORAGE_URL") -> Bucket | None:
    """Return the bucket of an address, which messages call `name`; None if the address is the path of a folder.

    Raises
    ------
    ValueError
        The address is neither the path of a folder nor that of a bucket. The message does not contain the address, which could
        hold credentials.
    """
    if "://" not in url:
        return None
    if not url.startswith(SCHEME):
        raise ValueError(
            f"{name} must be the path of a folder, or the address of a bucket, s3://BUCKET/PREFIX; this "
            f"{url.partition(':')[0][:20]}:// URL is neither."
        )
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    prefix = prefix.strip("/")
    if not NAME.fullmatch(bucket):
        raise ValueError(
            f"{name} needs the name of a bucket after s3://, of 3 to 63 lower-case letters, digits, '.' and '-'."
        )
    if prefix and not PREFIX.fullmatch(prefix):
        raise ValueError(
            f"The prefix in {name} may hold only letters, digits, '.', '_' and '-', in components that do not begin "
            "with '.', separated by '/'."
        )
    return Bucket(bucket, prefix)


def check_access(endpoint: str, *credentials: SecretStr, name: str = "LDSBOARD_STORAGE_URL") -> None:
    """Raise ValueError if a part of the credentials is missing, or if the URL of the store cannot be used; it can be empty.

    Messages call the address of the bucket `name`.
    """
    if not all(map(len, credentials)):
        raise ValueError(f"A bucket in {name} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    check_endpoint("AWS_ENDPOINT_URL", endpoint)


def check_endpoint(name: str, url: str) -> None:
    """Raise ValueError, with the name of the setting, if the URL of a store cannot be used; it can be empty."""
    if url and not ENDPOINT.fullmatch(url):
        raise ValueError(f"{name} must be an http:// or https:// URL without credentials.")
