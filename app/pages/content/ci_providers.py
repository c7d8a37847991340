"""Template filters, one per function, for the CI providers whose workflows a user can trust."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from app.issuers import Issuer, ProviderName

NAMES: dict[ProviderName, str] = {"github": "GitHub", "gitlab": "GitLab", "forgejo": "Forgejo"}

CLOUD_HOST, CLOUD_DOMAIN = "github.com", ".ghe.com"
"""The host of GitHub, and the end of the hosts of GitHub Enterprise Cloud with data residence. The REST API of both has a host of
its own: ``api.`` and the host of the site. GitHub Enterprise Server has the REST API below ``/api/v3`` on the host of the site.

Source: https://docs.github.com/en/enterprise-server/rest/enterprise-admin, for each of the three products."""


def provider_name(issuer: Issuer) -> str:
    """Return the name of an issuer's provider and the host of the issuer's site, such as ``GitHub (github.com)``."""
    return f"{NAMES[issuer.provider]} ({urlsplit(issuer.site).netloc})"


def ids_address(issuer: Issuer) -> str:
    """Return the address at which the REST API of an issuer's site answers with the ids of a repository and its owner.

    The address is a pattern: the user replaces ``OWNER/NAME``, or ``GROUP%2FNAME`` for GitLab, by the name of a repository.
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
