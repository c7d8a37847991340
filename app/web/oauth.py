"""Signing in by an OpenID Connect provider or GitHub: who somebody is there, as authlib finds it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import Depends, Request
from httpx2 import HTTPError
from joserfc.errors import JoseError

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from starlette.responses import RedirectResponse

    from app.settings import Settings

TIMEOUT_SECONDS = 10.0

FAILURES = (HTTPError, OAuthError, JoseError, ValueError)
"""How a provider, the way to it, or what it says can fail."""


class Profile(NamedTuple):
    """Who somebody is at a provider: its address, an identifier that never changes, and a name that may."""

    provider: str
    subject: str
    login: str


class Providers:
    """The providers that the settings name; ``labels`` are what people see, by short name."""

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
                expected=f"one of the providers {', '.join(self.labels) or '(none is set up)'}",
                got=repr(name[:40]),
                hint="Choose one on /sign-in.",
            )
        return self._oauth.create_client(name)

    async def begin(self, name: str, request: Request, back: str) -> RedirectResponse:
        """Send somebody to a provider, from where they come back to the address `back`."""
        client = self._client(name)
        try:
            answer: RedirectResponse = await client.authorize_redirect(request, back)
        except FAILURES as error:
            raise _failed(error) from error
        return answer

    async def finish(self, name: str, request: Request) -> Profile:
        """Return who came back from a provider.

        Raises
        ------
        ProblemError
            ``auth.sign_in``: it did not say, or what it said is not to be believed.
        """
        client = self._client(name)
        try:
            token = await client.authorize_access_token(request)
            if name == "github":
                answer = await client.get("user", token=token)
                user = answer.raise_for_status().json()
                return Profile(self._addresses[name], str(user["id"]), user["login"])
        except (*FAILURES, KeyError) as error:
            raise _failed(error) from error
        claims = token.get("userinfo") or {}
        if not claims.get("sub"):
            raise _failed(ValueError("no subject"))
        login = claims.get("preferred_username") or claims.get("nickname") or claims.get("name") or "user"
        return Profile(self._addresses[name], str(claims["sub"]), str(login))


def _failed(error: Exception) -> ProblemError:
    return ProblemError(
        "auth.sign_in",
        expected="a provider that says who you are",
        got=f"{type(error).__name__}: {error}"[:200],
        hint="Try again at /sign-in. If it stays, the operator should look at the settings of the provider.",
    )


def _providers(request: Request) -> Providers:
    providers: Providers = request.app.state.providers
    return providers


ProvidersDep = Annotated[Providers, Depends(_providers)]
