"""The operator's settings, read from the environment at the start of a server or command. Unsafe values prevent the start."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, HttpUrl, SecretStr, TypeAdapter, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import URL

from app.database_url import database_url
from app.issuers import Issuer, parse_issuers
from app.keys import check_keys
from app.store_settings import StoreSettings
from ldsboard.formats.score_files import HEADER_LIMIT


class Settings(StoreSettings):
    """The operator's settings. The name of each environment variable is ``LDSBOARD_`` and the setting's name in capitals.

    An invalid or unsafe value raises pydantic's ValidationError.
    """

    model_config = SettingsConfigDict(
        env_prefix="LDSBOARD_",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    data_dir: Path = Path(".ldsboard")
    """Folder of the database, the uploaded files and the benchmarks."""

    database_url: str = ""
    """SQLAlchemy URL of the database; by default, an SQLite file in the data folder."""

    public_url: str = "http://localhost:8000"
    """URL under which users open the site."""

    contact: str = Field(default="the operator of this server", min_length=1, max_length=200, pattern=r"^[^\r\n]*$")
    """To whom users write about a suspension or a ban, for instance an e-mail address."""

    max_upload_bytes: int = Field(default=2 * 1024**3, gt=0)
    """Maximum size of a score file in bytes."""

    part_bytes: int = Field(default=16 * 1024**2, ge=HEADER_LIMIT)
    """Size of an upload part in bytes."""

    upload_seconds: int = Field(default=24 * 60 * 60, gt=0)
    """Seconds from the start of a multipart upload until the upload expires."""

    spare_bytes: int = Field(default=64 * 1024**2, ge=0)
    """Bytes of the disk that uploads must leave free."""

    ranked_per_day: int = Field(default=5, ge=0)
    """Maximum number of ranked submissions of one user to one benchmark in 24 hours."""

    ranked_per_version: int = Field(default=30, ge=0)
    """Maximum number of ranked submissions of one user to one version."""

    unverified_ranked_per_day: int = Field(default=20, ge=0)
    """Maximum number of ranked submissions of all users without a verified identity together, to one benchmark in 24 hours."""

    unverified_ranked_per_version: int = Field(default=60, ge=0)
    """Maximum number of ranked submissions of all users without a verified identity together, to one version."""

    ranked_needs_approval: bool = False
    """Whether users without a verified identity cannot make ranked submissions until `python -m app user approve NAME`."""

    bytes_per_user: int = Field(default=20 * 1024**3, ge=0)
    """Maximum number of bytes of score files that one user stores on the server; 0: no limit."""

    uploads_per_user: int = Field(default=20, ge=0)
    """Maximum number of uploads that one user has under way at the same time; 0: no limit."""

    practice_per_day: int = Field(default=500, ge=0)
    """Maximum number of practice submissions of one user in 24 hours, to all benchmarks together; 0: no limit."""

    uploads_per_day: int = Field(default=1000, ge=0)
    """Maximum number of uploads that one user begins in 24 hours, whether or not their files arrive; 0: no limit."""

    edits_per_day: int = Field(default=1000, ge=0)
    """Maximum number of edits of submissions by one user in 24 hours; 0: no limit."""

    tokens_per_day: int = Field(default=200, ge=0)
    """Maximum number of tokens that one user creates in 24 hours, including tokens of the submission form; 0: no limit."""

    tokens_per_user: int = Field(default=100, ge=0)
    """Maximum number of tokens of one user, including expired tokens; 0: no limit. The operator can create more tokens."""

    publishers_per_user: int = Field(default=100, ge=0)
    """Maximum number of trusted CI workflows that one user registers; 0: no limit."""

    mints_per_day: int = Field(default=1000, ge=0)
    """Maximum number of tokens that the CI workflows of one user get in 24 hours; 0: no limit."""

    mints_per_minute: int = Field(default=60, gt=0)
    """Maximum number of calls a minute from one network address that exchange the identity of a CI run for a token."""

    webhooks_per_user: int = Field(default=5, ge=0)
    """Maximum number of webhooks of one user; 0: no user can have a webhook, and the server calls none."""

    webhooks_per_day: int = Field(default=20, ge=0)
    """Maximum number of webhooks that one user registers in 24 hours; 0: no limit."""

    webhook_hosts: str = ""
    """Hosts without a public address that webhooks may call, also by http: each `host` or `host:port`, separated by commas."""

    event_days: int = Field(default=90, ge=7)
    """Days for which events and calls of webhooks are kept, and ended submissions that have no result and are no attempts."""

    practice_days: int = Field(default=180, ge=7)
    """Days for which scored practice submissions are kept, and the attributions of private submissions. The newest practice
    submission of each user, version, method, repository and branch is kept for ever, and so is every attempt."""

    audit_days: int = Field(default=400, ge=366)
    """Days for which rows of the audit log are kept. A database trigger refuses to delete rows that are younger than 365 days."""

    retry_seconds: float = Field(default=2.0, ge=0)
    """Seconds before the first retry of an evaluation after a server error; each further wait is four times the wait before."""

    busy_seconds: float = Field(default=30.0, gt=0)
    """Seconds that a request waits for a locked database before the request fails."""

    requests_per_minute: int = Field(default=1200, gt=0)
    """Maximum number of requests a minute from one user, and from one network address."""

    trusted_proxies: str = ""
    """Addresses or networks, separated by commas, of the proxies whose X-Forwarded-For header is trusted."""

    connections_per_address: int = Field(default=1024, gt=0)
    """Maximum number of open connections from one network address. Proxies in TRUSTED_PROXIES have no such limit."""

    oidc_issuer: str = ""
    """URL of an OpenID Connect provider for signing in."""

    oidc_label: str = "OpenID Connect"
    """Name of the OpenID Connect provider on the sign-in page."""

    oidc_client_id: str = ""
    """Client id of this site at the OpenID Connect provider."""

    oidc_client_secret: SecretStr = SecretStr("")
    """Client secret that belongs to OIDC_CLIENT_ID."""

    github_client_id: str = ""
    """Client id of a GitHub OAuth app for signing in."""

    github_client_secret: SecretStr = SecretStr("")
    """Client secret that belongs to GITHUB_CLIENT_ID."""

    github_url: str = "https://github.com"
    """URL of GitHub, or of a GitHub Enterprise server."""

    ci_issuers: str = ""
    """Further issuers of CI identities, separated by commas: each `github`, `gitlab` or `forgejo`, the address of the issuer and,
    if unusual, the address of its key set. The issuers of github.com, gitlab.com and codeberg.org are always known."""

    ci_loopback: bool = False
    """Whether CI_ISSUERS may name an issuer on this machine whose address begins with http://. Only for tests."""

    session_key: SecretStr = SecretStr("")
    """Key that signs cookies, at least 32 characters, by default from a file; keys after a comma are only accepted."""

    metrics_token: SecretStr = SecretStr("")
    """Bearer token with which Prometheus reads `/metrics`, at least 32 characters, or several with commas; by default, none."""

    scoring_processes: int = Field(default=1, ge=0, le=64)
    """Number of score files that the server evaluates at once; 0: only workers do (`python -m app work`), with PostgreSQL."""

    counterfactual: bool | None = None
    """Whether models are retrained without the examples that listed score files name; by default where torch is installed."""

    counterfactual_seconds: float = Field(default=7200.0, gt=0)
    """Largest processor time of the models of one such evaluation, in seconds."""

    counterfactual_bytes: int = Field(default=4 * 2**30, ge=2**29)
    """Largest memory of the process that trains these models, in bytes."""

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        TypeAdapter(HttpUrl).validate_python(value)
        return value.rstrip("/")

    @field_validator("session_key", "metrics_token")
    @classmethod
    def _check_length(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        check_keys(value.get_secret_value(), f"LDSBOARD_{str(info.field_name).upper()}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, value: str) -> str:
        for proxy in filter(None, map(str.strip, value.split(","))):
            ip_network(proxy)
        return value

    @field_validator("webhook_hosts")
    @classmethod
    def _check_webhook_hosts(cls, value: str) -> str:
        for host in filter(None, map(str.strip, value.split(","))):
            if not re.fullmatch(r"[a-z0-9._-]+(:[0-9]{1,5})?", host):
                raise ValueError(
                    f"LDSBOARD_WEBHOOK_HOSTS needs hosts in lower case, each as host or host:port; {host!r} is neither."
                )
        return value

    @field_validator("oidc_issuer", "github_url")
    @classmethod
    def _check_provider_url(cls, value: str) -> str:
        address = TypeAdapter(HttpUrl).validate_python(value) if value else None
        if address is not None and address.scheme != "https" and address.host not in ("localhost", "127.0.0.1"):
            raise ValueError(
                "The URL of an identity provider must begin with https://; otherwise sign-ins can be intercepted."
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_providers_complete(self) -> Self:
        oidc = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret.get_secret_value())
        github = (self.github_client_id, self.github_client_secret.get_secret_value())
        for name, parts in (
            ("LDSBOARD_OIDC_ISSUER, LDSBOARD_OIDC_CLIENT_ID and LDSBOARD_OIDC_CLIENT_SECRET", oidc),
            ("LDSBOARD_GITHUB_CLIENT_ID and LDSBOARD_GITHUB_CLIENT_SECRET", github),
        ):
            if any(parts) and not all(parts):
                raise ValueError(f"Set all of {name}, or none of them; only some are set.")
        return self

    @model_validator(mode="after")
    def _check_addresses(self) -> Self:
        _ = self.issuers
        url = database_url(self.resolved_database_url)
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("LDSBOARD_DATABASE_URL must name an SQLite file, as sqlite:///PATH; this URL names none.")
        if self.public_url.startswith("https:") and self.storage_public_url.startswith("http:"):
            raise ValueError(
                "LDSBOARD_STORAGE_PUBLIC_URL must begin with https://, as LDSBOARD_PUBLIC_URL does; otherwise score files can "
                "be intercepted."
            )
        return self

    def check_serving(self) -> None:
        """Raise ValueError if no server or worker can use these settings together; operator's commands can."""
        if not self.scoring_processes and not self.workers_score:
            raise ValueError(
                "LDSBOARD_SCORING_PROCESSES=0 needs PostgreSQL, because workers in other processes take their work from it; "
                "set LDSBOARD_DATABASE_URL=postgresql://…, or unset LDSBOARD_SCORING_PROCESSES."
            )
        if self.storage_public_url and self.bucket is None:
            raise ValueError(
                "LDSBOARD_STORAGE_PUBLIC_URL needs a bucket in LDSBOARD_STORAGE_URL, as s3://BUCKET/PREFIX; for a folder, unset "
                "LDSBOARD_STORAGE_PUBLIC_URL."
            )

    def is_trusted_proxy(self, address: str) -> bool:
        """Return whether an IP address belongs to a trusted proxy; raise ValueError if `address` is no IP address."""
        proxies = filter(None, map(str.strip, self.trusted_proxies.split(",")))
        return any(ip_address(address) in ip_network(proxy) for proxy in proxies)

    @property
    def issuers(self) -> dict[str, Issuer]:
        """The issuers of CI identities that the server trusts, by address: those of `ci_issuers` and the public ones."""
        return parse_issuers(self.ci_issuers, allow_loopback=self.ci_loopback)

    @property
    def workers_score(self) -> bool:
        """Whether workers evaluate in place of the server, which SQLite does not allow."""
        return not self.scoring_processes and database_url(self.resolved_database_url).get_backend_name() != "sqlite"

    @property
    def resolved_database_url(self) -> str:
        """URL of the database: `database_url`, or the default if `database_url` is empty."""
        default = URL.create("sqlite", database=str(self.data_dir.absolute() / "ldsboard.sqlite3"))
        return self.database_url or default.render_as_string(hide_password=False)

    @property
    def storage_dir(self) -> Path:
        """Folder of the uploaded files: `storage_url`, or the default if `storage_url` is empty."""
        return Path(self.storage_url) if self.storage_url else self.data_dir / "files"

    @property
    def benchmarks_dir(self) -> Path:
        """Folder of the published benchmarks."""
        return self.data_dir / "benchmarks"

    @property
    def snapshots_dir(self) -> Path:
        """Folder of the snapshots of leaderboards."""
        return self.data_dir / "snapshots"

    @property
    def as_published_dir(self) -> Path:
        """Folder of the LDS values that papers report."""
        return self.data_dir / "as-published"
