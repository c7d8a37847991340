"""Signing in with an OpenID Connect provider or GitHub, by means of authlib."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import Depends, Request
from httpx2 import HTTPError
from joserfc.errors import JoseError
from starlette.responses import RedirectResponse

from app.settings import Settings
from ldsboard.problems import ProblemError

TIMEOUT_SECONDS = 10.0

SUBJECT = re.compile(r"[^\x00]{1,255}")
"""The identifier of a user at an OpenID Connect provider. PostgreSQL stores no NUL characters."""

PROVIDER_ERRORS = (HTTPError, OAuthError, JoseError, ValueError)
"""Errors of the network, of the provider and of its answers."""


class Profile(NamedTuple):
    """A user's identity at a provider."""

    provider: str
    """Address of the provider."""
    subject: str
    """Identifier of the user, which never changes."""
    login: str
    """Name of the user, which may change."""
    verified: bool
    """Whether the identity is from the OpenID Connect provider. GitHub lets one person create many accounts."""


class Providers:
    """The configured providers.

    Attributes
    ----------
    labels
        Label for display of each provider, by short name (``oidc``, ``github``).
    """

    def __init__(self, settings: Settings) -> None:
        self._oauth = OAuth()
        self._addresses: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        if settings.oidc_issuer:
            self._add(
                "oidc",
                settings.oidc_label,
                settings.oidc_issuer,
                client_id=settings.oidc_client_id,
                client_secret=settings.oidc_client_secret.get_secret_value(),
                server_metadata_url=f"{settings.oidc_issuer}/.well-known/openid-configuration",
                client_kwargs={"scope": "openid profile"},
            )
        if settings.github_client_id:
            site = settings.github_url
            self._add(
                "github",
                "GitHub",
                site,
                client_id=settings.github_client_id,
                client_secret=settings.github_client_secret.get_secret_value(),
                authorize_url=f"{site}/login/oauth/authorize",
                access_token_url=f"{site}/login/oauth/access_token",
                api_base_url="https://api.github.com/" if site == "https://github.com" else f"{site}/api/v3/",
                client_kwargs={"scope": "read:user"},
            )

    def _add(self, name: str, label: str, address: str, *, client_kwargs: dict[str, Any], **options: Any) -> None:
        self.labels[name], self._addresses[name] = label, address
        client_kwargs |= {"code_challenge_method": "S256", "timeout": TIMEOUT_SECONDS}
        self._oauth.register(name, client_kwargs=client_kwargs, **options)

    def _client(self, name: str) -> Any:
        if name not in self.labels:
            raise ProblemError(
                "request.not_found",
                f"{name[:40]!r} is not one of the providers: {', '.join(self.labels) or '(no provider is configured)'}.",
                "Choose a provider on /sign-in.",
            )
        return self._oauth.create_client(name)

    async def begin(self, name: str, request: Request, redirect_uri: str) -> RedirectResponse:
        """Return a response that redirects the browser to a provider; the provider redirects the browser back to `redirect_uri`.

        Raises
        ------
        ProblemError
            ``request.not_found``: no provider with this name is configured.
            ``auth.sign_in``: the provider was unreachable, or the redirect could not be made.
        """
        client = self._client(name)
        try:
            answer: RedirectResponse = await client.authorize_redirect(request, redirect_uri)
        except PROVIDER_ERRORS as error:
            raise _failed(error) from error
        return answer

    async def finish(self, name: str, request: Request) -> Profile:
        """Return the identity of a user whom a provider redirected back.

        Raises
        ------
        ProblemError
            ``request.not_found``: no provider with this name is configured.
            ``auth.sign_in``: the provider was unreachable or refused, or the provider's answer is incomplete or fails
            validation.
        """
        client = self._client(name)
        try:
            token = await client.authorize_access_token(request)
            if name == "github":
                answer = await client.get("user", token=token)
                user = answer.raise_for_status().json()
                return Profile(self._addresses[name], str(user["id"]), user["login"], verified=False)
        except (*PROVIDER_ERRORS, KeyError) as error:
            raise _failed(error) from error
        claims = token.get("userinfo") or {}
        # OpenID Connect allows 255 characters: https://openid.net/specs/openid-connect-core-1_0.html#IDToken
        if not SUBJECT.fullmatch(str(claims.get("sub") or "")):
            raise _failed(ValueError("the ID token has no valid subject, the identifier of the user"))
        # authlib checks the audience only if it is not empty.
        audience = claims.get("aud")
        if client.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise _failed(ValueError("the ID token was issued to another client"))
        login = claims.get("preferred_username") or claims.get("nickname") or claims.get("name") or "user"
        return Profile(self._addresses[name], str(claims["sub"]), str(login), verified=True)


def _failed(error: Exception) -> ProblemError:
    return ProblemError(
        "auth.sign_in",
        f"Signing in failed with {type(error).__name__}: {error}"[:200],
        "Try again at /sign-in. If signing in keeps failing, the operator should check the settings of the provider.",
    )


def _providers(request: Request) -> Providers:
    providers: Providers = request.app.state.providers
    return providers


ProvidersDep = Annotated[Providers, Depends(_providers)]
