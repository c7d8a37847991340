"""Issuers of CI identities: the providers whose identity tokens the server can trust, from the operator's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

ProviderName = Literal["github", "gitlab", "forgejo"]
"""Software that issues identity tokens. Each software names its claims differently."""

PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)

KEY_PATHS: dict[ProviderName, str] = {
    "github": "/.well-known/jwks",
    "gitlab": "/oauth/discovery/keys",
    "forgejo": "/.well-known/keys",
}
"""Path of the key set below the address of the issuer.

Sources: the member ``jwks_uri`` of https://token.actions.githubusercontent.com/.well-known/openid-configuration and of
https://gitlab.com/.well-known/openid-configuration; ``routers/api/actions/oidc.go`` of Forgejo."""

SITE_SUFFIXES: dict[ProviderName, str] = {"github": "/_services/token", "gitlab": "", "forgejo": "/api/actions"}
"""The ending to remove from an issuer's address to get the address of its site.

This holds for GitHub Enterprise Server, GitLab and Forgejo. `_site` has other rules for github.com and NAME.ghe.com.

Sources: https://docs.github.com/en/actions/reference/security/oidc,
https://docs.gitlab.com/ci/secrets/id_token_authentication and
https://forgejo.org/docs/latest/user/actions/security-openid-connect."""

GITHUB_HOST = "token.actions.githubusercontent.com"
ENTERPRISE_PREFIX, ENTERPRISE_DOMAIN = "token.actions.", ".ghe.com"
"""Beginning and end of an issuer's host on a GitHub Enterprise Cloud with data residency.

The host of the issuer is ``token.actions.NAME.ghe.com``; the host of the site is ``NAME.ghe.com``."""

MAX_ADDRESS_LENGTH = 300
"""Maximum number of characters of the address of an issuer."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Issuer:
    """An issuer of identity tokens.

    Attributes
    ----------
    address
        The claim ``iss`` of the issuer's tokens, exactly.
    provider
        The software of the issuer.
    keys
        Address of the key set.
    site
        Address of the site on which users see their repositories, without a slash at the end.
    """

    address: str
    provider: ProviderName
    keys: str
    site: str


def parse_issuers(text: str, *, allow_loopback: bool = False) -> dict[str, Issuer]:
    """Return the issuers that the server trusts: `PUBLIC_ISSUERS` and those that the setting LDSBOARD_CI_ISSUERS lists.

    The keys of the result are the addresses of the issuers. An entry of the setting replaces a public issuer of equal address.

    Parameters
    ----------
    text
        Value of the setting: entries separated by commas. Each entry is ``PROVIDER ISSUER`` or ``PROVIDER ISSUER KEYS``, where
        PROVIDER is one of `PROVIDERS`, ISSUER is the address of the issuer, and KEYS is the address of the key set. Without
        KEYS, the key set is below ISSUER, at the path in `KEY_PATHS`.
    allow_loopback
        Whether an issuer on this machine may have an address and a key set that begin with http://. For tests only.

    Raises
    ------
    ValueError
        An entry does not have one of these forms.
        An address is not an https:// URL, has a user name, a query or a fragment, or is longer than `MAX_ADDRESS_LENGTH`.
    """
    issuers = {address: _issuer(provider, address) for provider, address in PUBLIC_ISSUERS}
    for entry in filter(None, map(str.strip, text.split(","))):
        provider, *addresses = entry.split()
        name = next((known for known in PROVIDERS if known == provider), None)
        if name is None or not 1 <= len(addresses) <= 2:  # noqa: PLR2004 -- the issuer and its key set
            raise ValueError(
                f"LDSBOARD_CI_ISSUERS has the entry {entry!r}; expected PROVIDER ISSUER or PROVIDER ISSUER KEYS, "
                f"where PROVIDER is one of {', '.join(PROVIDERS)}."
            )
        for address in addresses:
            _check_address(address, allow_loopback=allow_loopback and _is_loopback(addresses[0]))
        issuers[addresses[0]] = _issuer(name, *addresses)
    return issuers


def _check_address(address: str, *, allow_loopback: bool) -> None:
    """Raise ValueError unless an address is safe.

    A safe address begins with https://, or with http:// on this machine if `allow_loopback` is True. It has a host, no user name,
    no query and no fragment, and at most `MAX_ADDRESS_LENGTH` characters.
    """
    parts = urlsplit(address)
    is_local = allow_loopback and parts.scheme == "http" and _is_loopback(address)
    if (
        not (parts.scheme == "https" or is_local)
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.username
    ):
        raise ValueError(
            f"LDSBOARD_CI_ISSUERS has the address {address!r}; expected https://HOST/PATH, so that nobody can forge the keys."
        )
    if len(address) > MAX_ADDRESS_LENGTH:
        raise ValueError(
            f"LDSBOARD_CI_ISSUERS has an address of {len(address)} characters; at most {MAX_ADDRESS_LENGTH} are allowed."
        )


def _is_loopback(address: str) -> bool:
    return urlsplit(address).hostname in LOOPBACK


def _issuer(provider: ProviderName, address: str, keys: str | None = None) -> Issuer:
    base = address.rstrip("/")
    return Issuer(address, provider, keys or base + KEY_PATHS[provider], _site(provider, base))


def _site(provider: ProviderName, base: str) -> str:
    """Return the address of the site of an issuer, which follows from the issuer's address."""
    host = urlsplit(base).hostname or ""
    if provider == "github" and host == GITHUB_HOST:
        return "https://github.com"
    if provider == "github" and host.startswith(ENTERPRISE_PREFIX) and host.endswith(ENTERPRISE_DOMAIN):
        return f"https://{host.removeprefix(ENTERPRISE_PREFIX)}"
    return base.removesuffix(SITE_SUFFIXES[provider])


PUBLIC_ISSUERS: tuple[tuple[ProviderName, str], ...] = (
    ("github", f"https://{GITHUB_HOST}"),
    ("gitlab", "https://gitlab.com"),
    ("forgejo", "https://codeberg.org/api/actions"),
)
"""Issuers that every server trusts to name repositories; a run gets a token only if a user trusts its workflow."""
