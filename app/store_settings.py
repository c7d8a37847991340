"""The operator's settings of the place of the uploaded files: a folder, or a bucket in an S3-compatible store."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.bucket import Bucket, check_access, check_endpoint, parse_bucket


class StoreSettings(BaseSettings):
    """The part of `app.settings.Settings` that names the place of the uploaded files."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    storage_url: str = ""
    """Place of the uploaded files: a folder, or s3://BUCKET/PREFIX in an S3-compatible store; by default a folder in data_dir."""

    aws_access_key_id: SecretStr = Field(default=SecretStr(""), validation_alias="AWS_ACCESS_KEY_ID")
    """Id of the access key of the store in STORAGE_URL. Its variable, like those of the next three, has no prefix."""

    aws_secret_access_key: SecretStr = Field(default=SecretStr(""), validation_alias="AWS_SECRET_ACCESS_KEY")
    """Secret of the access key."""

    aws_endpoint_url: str = Field(default="", validation_alias="AWS_ENDPOINT_URL")
    """URL of the store; by default, that of Amazon S3 in AWS_REGION."""

    aws_region: str = Field(default="", validation_alias="AWS_REGION")
    """Region of the bucket; by default, us-east-1."""

    storage_public_url: str = ""
    """URL under which clients reach the store in STORAGE_URL; with it, they send upload parts straight to the store. By default,
    upload parts go through the server."""

    @model_validator(mode="after")
    def _check_store(self) -> Self:
        if self.bucket is not None:
            check_access(self.aws_endpoint_url, self.aws_access_key_id, self.aws_secret_access_key)
        check_endpoint("LDSBOARD_STORAGE_PUBLIC_URL", self.storage_public_url)
        return self

    @property
    def bucket(self) -> Bucket | None:
        """Bucket of the uploaded files; None if they are in a folder."""
        return parse_bucket(self.storage_url)
