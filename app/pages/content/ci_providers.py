"""Template filters, one per function, for the CI providers whose workflows a user can trust."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from app.issuers import Issuer, ProviderName

NAMES: dict[ProviderName, str] = {"github": "GitHub", "gitlab": "GitLab", "forgejo": "Forgejo"}

CLOUD_HOST, CLOUD_DOMAIN = "github.com", ".ghe.com"
"""The host of GitHub, and the end of the host of an enterprise whose data have a residence. The REST API of both is on the host
with ``api.`` before it; GitHub Enterprise Server has it under ``/api/v3``.

Source: https://docs.github.com/en/enterprise-server/rest/enterprise-admin, for each of the three products."""


def provider_name(issuer: Issuer) -> str:
    """Return the name of the software of an issuer, with the host of its site, such as ``GitHub (github.com)``."""
    return f"{NAMES[issuer.provider]} ({urlsplit(issuer.site).netloc})"


def ids_address(issuer: Issuer) -> str:
    """Return the address in the REST API of an issuer's site that shows the ids of a repository.

    The address holds ``OWNER/NAME`` in place of the name of the repository, or ``GROUP%2FNAME`` for GitLab.
    """
    if issuer.provider == "gitlab":
        return f"{issuer.site}/api/v4/projects/GROUP%2FNAME"
    if issuer.provider == "forgejo":
        return f"{issuer.site}/api/v1/repos/OWNER/NAME"
    site = urlsplit(issuer.site)
    host = site.hostname or ""
    if host == CLOUD_HOST or host.endswith(CLOUD_DOMAIN):
        return urlunsplit(site._replace(netloc=f"api.{site.netloc}", path="/repos/OWNER/NAME"))
    return f"{issuer.site}/api/v3/repos/OWNER/NAME"
