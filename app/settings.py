"""Settings, read once from the environment at start; unsafe values stop the service there."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, HttpUrl, SecretStr, TypeAdapter, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url

from ldsboard.formats import HEADER_LIMIT

SHORTEST_KEY = 32
"""Characters of a key that signs cookies, at least."""


class Settings(BaseSettings):
    """Everything that an operator can set, each as ``LDSBOARD_`` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="LDSBOARD_", frozen=True, hide_input_in_errors=True)

    data_dir: Path = Field(
        default=Path(".ldsboard"), description="Folder of the database, the files and the benchmarks."
    )
    database_url: str = Field(default="", description="SQLAlchemy URL; by default SQLite in the data folder.")
    storage_url: str = Field(default="", description="Folder of the uploaded files; by default in the data folder.")
    public_url: str = Field(default="http://localhost:8000", description="Address under which people reach the site.")
    max_upload_bytes: int = Field(default=2 * 1024**3, gt=0, description="Largest score file accepted.")
    part_bytes: int = Field(
        default=16 * 1024**2, ge=HEADER_LIMIT, description="Bytes of each part of an upload in parts."
    )
    upload_seconds: int = Field(default=24 * 60 * 60, gt=0, description="How long an upload in parts may take.")
    spare_bytes: int = Field(default=64 * 1024**2, ge=0, description="Bytes of the disk that uploads leave free.")
    ranked_per_day: int = Field(
        default=5, ge=0, description="Ranked submissions of one user to one benchmark in 24 hours."
    )
    ranked_per_version: int = Field(default=30, ge=0, description="Ranked submissions of one user to one version.")
    bytes_per_user: int = Field(
        default=20 * 1024**3,
        ge=0,
        description="Bytes of score files that one user may keep on the server; 0: no limit.",
    )
    uploads_per_user: int = Field(
        default=20, ge=0, description="Uploads of one user that may be under way at the same time; 0: no limit."
    )
    retry_seconds: float = Field(
        default=2.0, ge=0, description="Wait after a first failure of ours to evaluate; four times longer after each."
    )
    busy_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long a call waits for others to write to the database before it is refused.",
    )
    requests_per_minute: int = Field(
        default=1200, gt=0, description="Requests that one user, and one address, may make in a minute."
    )
    trusted_proxies: str = Field(
        default="", description="Addresses or networks of proxies whose X-Forwarded-For is believed, by commas."
    )
    oidc_issuer: str = Field(default="", description="Address of an OpenID Connect provider to sign in with.")
    oidc_label: str = Field(default="OpenID Connect", description="What people know that provider as.")
    oidc_client_id: str = Field(default="", description="What the provider knows this site as.")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), description="The secret that goes with that.")
    github_client_id: str = Field(default="", description="Client id of an OAuth app of GitHub to sign in with.")
    github_client_secret: SecretStr = Field(default=SecretStr(""), description="The secret that goes with that.")
    github_url: str = Field(default="https://github.com", description="Address of GitHub, or of one's own.")
    session_key: SecretStr = Field(
        default=SecretStr(""),
        description="Signs the cookies of the pages, at least 32 characters; by default a file in the data folder.",
    )
    scoring_processes: int = Field(default=1, ge=1, le=64, description="Score files evaluated at the same time.")

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        TypeAdapter(HttpUrl).validate_python(value)
        return value.rstrip("/")

    @field_validator("session_key")
    @classmethod
    def _is_long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value) < SHORTEST_KEY:
            raise ValueError(f"expected a key of at least {SHORTEST_KEY} random characters, got {len(value)}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for proxy in filter(None, map(str.strip, value.split(","))):
            ip_network(proxy)
        return value

    @field_validator("oidc_issuer", "github_url")
    @classmethod
    def _is_a_safe_address(cls, value: str) -> str:
        address = TypeAdapter(HttpUrl).validate_python(value) if value else None
        if address is not None and address.scheme != "https" and address.host not in ("localhost", "127.0.0.1"):
            raise ValueError(
                "expected an https address of an identity provider, got one that anybody on the way could read"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _has_whole_providers(self) -> Self:
        oidc = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret.get_secret_value())
        github = (self.github_client_id, self.github_client_secret.get_secret_value())
        for name, parts in (
            ("OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET", oidc),
            ("GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET", github),
        ):
            if any(parts) and not all(parts):
                raise ValueError(f"expected {name} together, got some without the others")
        return self

    @model_validator(mode="after")
    def _is_the_embedded_mode(self) -> Self:
        url = make_url(self.resolved_database_url)
        if url.drivername != "sqlite" or url.database in (None, "", ":memory:"):
            raise ValueError(
                f"expected sqlite:///PATH as DATABASE_URL, got {url.drivername}://… without a file of SQLite"
            )
        if "://" in self.storage_url:
            raise ValueError(f"expected a folder as STORAGE_URL, got {self.storage_url.split(':')[0]}://…")
        return self

    @property
    def resolved_database_url(self) -> str:
        """The database's address, with the default filled in."""
        default = URL.create("sqlite", database=str(self.data_dir.absolute() / "ldsboard.sqlite3"))
        return self.database_url or default.render_as_string(hide_password=False)

    @property
    def storage_dir(self) -> Path:
        """The folder of the uploaded files, with the default filled in."""
        return Path(self.storage_url) if self.storage_url else self.data_dir / "files"

    @property
    def benchmarks_dir(self) -> Path:
        """The folder of the published benchmarks."""
        return self.data_dir / "benchmarks"
