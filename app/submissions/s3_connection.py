"""Connections to an S3-compatible store, and what its errors mean.

Errors of obstore can quote requests, with the id of the access key. Only a short reason from them gets into messages and logs.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.exceptions import BaseError
    from obstore.store import ClientConfig, RetryConfig, S3Config

    from app.settings import Settings

CODE = re.compile(r"<Code>(\w{1,60})</Code>")
"""The code of an error in an answer of the store."""


def connect(settings: Settings, bucket: str, prefix: str, *, seconds: float, retries: int, url: str = "") -> S3Store:
    """Return a store whose requests take at most so many seconds, and are repeated at most so many times.

    `url` is by default that of the settings.
    """
    url = url or settings.aws_endpoint_url
    client: ClientConfig = {
        "allow_http": url.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(seconds, 5)),
        "timeout": timedelta(seconds=seconds),
    }
    retry: RetryConfig = {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
    }
    config: S3Config = {"endpoint": url} if url else {}
    return S3Store(
        bucket,
        prefix=prefix or None,
        access_key_id=settings.aws_access_key_id.get_secret_value(),
        secret_access_key=settings.aws_secret_access_key.get_secret_value(),
        region=settings.aws_region or "us-east-1",
        disable_bulk_delete=True,  # not every store has this call
        client_options=client,
        retry_config=retry,
        config=config,
    )


def sign_put(store: S3Store, key: str, seconds: float) -> str:
    """Return a URL with which anybody can write any bytes to a key, until so many seconds have passed; no request is made."""
    return obstore.sign(store, "PUT", key, timedelta(seconds=seconds))


def from_another_thread(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same chunks, but take them in another thread.

    obstore panics if an iterator that it sends calls obstore itself, as one does that reads from a store.
    """
    with ThreadPoolExecutor(1) as thread:
        while (chunk := thread.submit(next, chunks, None).result()) is not None:
            yield chunk


def short_reason(error: BaseError) -> str:
    """Return a short reason from an error of obstore, without what the store or the request say about credentials."""
    code = CODE.search(str(error))
    return code[1] if code else "no answer" if type(error).__name__ == "GenericError" else type(error).__name__
