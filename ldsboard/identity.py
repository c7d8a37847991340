"""Get tokens for CI runs that have no stored token.

The CI provider signs an identity token, which states the identity of the run. The server exchanges this identity token for a
token of the server.

GitHub and Forgejo sign a new identity token at each request. GitLab gives a job the identity tokens that its ``id_tokens`` name.

- GitHub: https://docs.github.com/en/actions/reference/security/oidc
- GitLab: https://docs.gitlab.com/ci/secrets/id_token_authentication/
"""

from __future__ import annotations

import os
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ldsboard import config
from ldsboard.answers import RefusedError, UnreachableError
from ldsboard.client import ATTEMPTS, HURRIED_SECONDS, LOCAL_HOSTS, TIMEOUT_SECONDS, Client
from ldsboard.environment import in_ci
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_URL, REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
"""Variables with which a job on GitHub or Forgejo requests an identity token; set if the job has the permission for it."""

ID_TOKENS = ("LDSBOARD_ID_TOKEN", "LDSBOARD_ID_TOKEN_2")
"""Variables with the identity tokens of a job on GitLab. Each is exchanged once, so the second renews the token of the first."""

TOKEN_VARIABLE = "LDSBOARD_TOKEN"  # noqa: S105 -- the name of the variable
"""Variable with the token of the user."""

OWNER = "LDSBOARD_OWNER"
"""Variable with the name of the user who trusts the workflow."""

RENEWED_BEFORE = timedelta(minutes=2)
"""Time before the end of a token at which a new token is requested."""


def has_identity(environ: Mapping[str, str]) -> bool:
    """Return whether a CI run has an identity token, or can request one."""
    return _can_request(environ) or any(environ.get(name, "").strip() for name in ID_TOKENS)


class RunTokens:
    """Source of tokens for the submissions of a CI run to one method: each call returns a valid token.

    A token is reused. Shortly before the token expires, a call requests a new token.

    Parameters
    ----------
    server
        Address of the server; None for the default.
    method
        The method that the run submits.
    owner
        Name of the user who trusts the workflow and to whom the submissions belong.
    environ
        The environment variables of the run.

    Raises
    ------
    ProblemError
        ``oidc.invalid``: a variable that should hold an identity token holds something else.
    """

    def __init__(self, server: str | None, method: str, owner: str, environ: Mapping[str, str]) -> None:
        self._server, self._method, self._owner = server, method, owner
        requests = _can_request(environ)
        self._url, self._secret = (environ[REQUEST_URL], environ[REQUEST_TOKEN]) if requests else ("", "")
        self._given = [] if requests else _given_tokens(environ)
        self._lock = threading.Lock()
        self._token, self._expires_at = "", datetime.min.replace(tzinfo=UTC)

    def __call__(self, hurried: bool = False) -> str:
        """Return a token; request a new one if the last token has expired or, without `hurried`, expires within two minutes.

        With `hurried`, each request to the CI provider or the server is sent only once and is given up after a few seconds.

        Raises
        ------
        ProblemError
            ``auth.expired``: the last token expires soon or has expired, and the job has no identity token left.
        ClientError
            The server refuses the identity, or the server or the CI provider cannot be reached.
        """
        # Another thread can hold the lock: the thread of an abandoned call, whose exchange goes on for minutes.
        if not self._lock.acquire(timeout=HURRIED_SECONDS if hurried else -1):
            raise UnreachableError(
                "This CI run cannot get a new token now: the CI provider or the server has not answered yet. Try again later."
            )
        try:
            needed_until = datetime.now(UTC) + (timedelta() if hurried else RENEWED_BEFORE)
            if self._expires_at <= needed_until:
                self._exchange(hurried=hurried)
            return self._token
        finally:
            self._lock.release()

    def _exchange(self, *, hurried: bool) -> None:
        """Exchange an identity token for a token of the server, and keep that token.

        If the server says that the identity token was exchanged before, a second identity token is tried.
        """
        with Client(self._server, hurried=hurried) as client:
            audience = client.ask("GET", "/oidc/audience", {"audience": str})["audience"]
            _check_audience(audience, client.server)
            wanted = {"method": self._method, "owner": self._owner}
            for is_last in (False, True):
                identity = self._identity(audience, hurried=hurried)
                try:
                    minted = client.ask(
                        "POST",
                        "/oidc/mint-token",
                        {"token": str, "expires_at": str},
                        json={"token": identity} | wanted,
                    )
                except RefusedError as error:
                    # A lost answer makes the client repeat the call, and the repeated identity token is refused.
                    if is_last or error.problem.code != "oidc.used" or not (self._url or self._given):
                        raise
                else:
                    self._token = minted["token"]
                    self._expires_at = datetime.fromisoformat(minted["expires_at"])
                    return

    def _identity(self, audience: str, *, hurried: bool) -> str:
        """Return an identity token that was not exchanged before."""
        if self._url:
            return _request(self._url, self._secret, audience, hurried=hurried)
        if self._given:
            return self._given.pop(0)
        raise ProblemError(
            "auth.expired",
            "The token of this CI run ends soon or has ended, and the job has no further identity token to get a new one with.",
            f"Add {ID_TOKENS[1]} to the id_tokens of the job, with the same aud as {ID_TOKENS[0]}.",
        )


def run_tokens(
    server: str | None, method: str, owner: str | None = None, environ: Mapping[str, str] = os.environ
) -> RunTokens | None:
    """Return the source of tokens of a CI run; None if the run has no identity.

    The parameters are those of `RunTokens`. Without `owner`, the variable ``LDSBOARD_OWNER`` names the owner.

    Raises
    ------
    ProblemError
        ``auth.missing``: the run has an identity, but no owner is named.
        ``oidc.invalid``: as in `RunTokens`.
    """
    if not has_identity(environ):
        return None
    if not (owner := (owner or environ.get(OWNER, "")).strip()):
        raise ProblemError(
            "auth.missing",
            "This CI run has no token. Its identity can be used in place of a token, but only for a named owner.",
            f"Set {OWNER} to your user name on the server, or give a token.",
        )
    return RunTokens(server, method, owner, environ)


def open_client(
    server: str | None, token: str | None, *, method: str | None = None, owner: str | None = None
) -> Client:
    """Return a client with the user's token, or with tokens for the identity of a CI run.

    The first of these that exists is used: `token`, ``LDSBOARD_TOKEN``, the identity of a CI run that submits `method` for
    `owner`, and the stored token for the server. Empty texts are no tokens.

    Raises
    ------
    ProblemError
        The errors of `run_tokens`; or the token or the address of the server is not valid, as in `Client`.
    ConfigError
        No token is given, and the configuration file with the stored tokens is damaged.
    """
    server = (server or "").strip() or None
    given = (token or "").strip() or os.environ.get(TOKEN_VARIABLE, "").strip()
    if not given and method and in_ci() and (tokens := run_tokens(server, method, owner or None)):
        return Client(server, tokens)
    client = Client(server, given)
    if given or not (stored := config.token(client.server)):
        return client
    client.close()
    return Client(server, stored)


def _can_request(environ: Mapping[str, str]) -> bool:
    return bool(environ.get(REQUEST_URL) and environ.get(REQUEST_TOKEN))


def check_token(client: Client) -> None:
    """Raise a RefusedError, ``auth.missing``, if a client has no token.

    Callers check the token before they read a large file, because without a token the server would refuse the file anyway.
    """
    if not client.has_token:
        detail, hint = f"There is no token for {client.server}.", "Get one on its page /account, or from its operator."
        raise RefusedError(Problem("auth.missing", detail, hint), 401, None)


def _given_tokens(environ: Mapping[str, str]) -> list[str]:
    """Return the identity tokens of a job, read from those of the variables `ID_TOKENS` that are not empty.

    Raises
    ------
    ProblemError
        ``oidc.invalid``: the value of a variable does not have the form of an identity token.
    """
    given = {name: token for name in ID_TOKENS if (token := environ.get(name, "").strip())}
    for name, token in given.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}", token):
            raise ProblemError(  # without the token, which may be a secret
                "oidc.invalid",
                f"{name} holds no identity token: expected three parts of letters, digits, '-' and '_', with dots between them.",
                f"Let the id_tokens of the job set {name}, with the address of the server as aud.",
            )
    return list(given.values())


def _check_audience(audience: str, server: str) -> None:
    """Raise an UnreachableError if a server asks for identity tokens that are valid at another server.

    Without this check, a malicious server could ask for an identity token that another server accepts, and submit to the other
    server in the name of the run. A server on the local machine may ask for any audience.

    Parameters
    ----------
    audience
        The audience, an address, that the server wants the identity tokens to name.
    server
        Address of the server.
    """
    stated, own = (httpx.URL(address) for address in (audience, server))
    if (stated.scheme, stated.host, stated.port) != (own.scheme, own.host, own.port) and own.host not in LOCAL_HOSTS:
        raise UnreachableError(
            f"{server} asks for an identity for another address, {audience[:200]}. Set LDSBOARD_SERVER (or --server) to "
            "the public address of the server."
        )


def _request(url: str, secret: str, audience: str, *, hurried: bool) -> str:
    """Ask the CI provider, GitHub or Forgejo, for a new identity token for an audience, and return the identity token.

    With `hurried`, the request is sent only once and is given up after a few seconds.
    """
    retrying = Retrying(
        retry=retry_if_exception_type((httpx.TransportError, _UnavailableError)),
        stop=stop_after_attempt(1 if hurried else ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.5, max=8),
        reraise=True,
    )
    try:
        address = httpx.URL(url).copy_merge_params({"audience": audience})
        response = retrying(_get, address, secret, HURRIED_SECONDS if hurried else TIMEOUT_SECONDS)
        token = response.json()["value"] if response.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, _UnavailableError, ValueError, KeyError, TypeError) as error:
        raise UnreachableError(
            f"The CI provider gave no identity token: {str(error) or type(error).__name__}."
        ) from error
    if not isinstance(token, str):
        raise UnreachableError(
            f"The CI provider gave no identity token (status {response.status_code}). "
            "Check that the job has the permission id-token: write."
        )
    return token


def _get(address: httpx.URL, secret: str, timeout: float) -> httpx.Response:
    local = address.host in LOCAL_HOSTS
    response = httpx.get(address, headers={"Authorization": f"bearer {secret}"}, timeout=timeout, trust_env=not local)
    if response.is_server_error:
        raise _UnavailableError(f"status {response.status_code}")
    return response


class _UnavailableError(Exception):
    """The error for a response that says that the CI provider is unavailable."""
