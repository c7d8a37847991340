"""An identity provider in a thread: OpenID Connect with PKCE and signed ID tokens, and GitHub's OAuth.

The provider shows no pages: it signs in the user in ``current`` at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    from types import TracebackType

CLIENT, SECRET = "board", "secret-of-the-client"  # opens nothing


class Provider:
    """The provider, its current user, and false claims for the tests of a dishonest provider."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.published_key = self.key
        self.sign_in("1", "ada")
        self.codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def sign_in(self, subject: str, name: str) -> None:
        """Make a user the current one, and remove all false claims."""
        self.current: dict[str, Any] = {"sub": subject, "preferred_username": name}
        self.false_claims: dict[str, Any] = {}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a server that uses this provider."""
        return {
            "oidc_issuer": self.address,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
            "github_client_id": CLIENT,
            "github_client_secret": SECRET,
            "github_url": self.address,
        }

    def id_token(self, nonce: str) -> str:
        """Return a signed ID token of the current user, without the claims that are None."""
        claims = {"iss": self.address, "aud": CLIENT, "iat": int(time.time()), "exp": int(time.time()) + 60}
        claims |= {"nonce": nonce} | self.current | self.false_claims
        stated = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "one"}, stated, self.key)


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:  # noqa: C901 -- one branch for each call of a provider
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _respond(self, answer: object, status: int = 200) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            request = {name: values[0] for name, values in parse_qs(address.query).items()}
            match address.path:
                case "/.well-known/openid-configuration":
                    base = provider.address
                    endpoints = {"authorization_endpoint": f"{base}/authorize", "token_endpoint": f"{base}/token"}
                    self._respond({"issuer": base, "jwks_uri": f"{base}/keys"} | endpoints)
                case "/keys":
                    self._respond({"keys": [provider.published_key.as_dict(private=False)]})
                case "/authorize" | "/login/oauth/authorize":
                    code = secrets.token_hex(8)
                    provider.codes[code] = request
                    back = urlencode({"code": code, "state": request["state"]})
                    self.send_response(302)
                    self.send_header("Location", f"{request['redirect_uri']}?{back}")
                    self.end_headers()
                case "/api/v3/user":
                    if self.headers["Authorization"] == "Bearer access":
                        self._respond(
                            {"id": int(provider.current["sub"]), "login": provider.current["preferred_username"]}
                        )
                    else:
                        self._respond({}, 401)
                case _:
                    self._respond({}, 404)

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(sent).items()}
            request = provider.codes.pop(form.get("code", ""), None)
            basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            authenticated = self.headers["Authorization"] == f"Basic {basic}" or form.get("client_secret") == SECRET
            challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
            if request is None or not authenticated or challenge.decode().rstrip("=") != request.get("code_challenge"):
                self._respond({"error": "invalid_grant"}, 400)
                return
            answer = {"access_token": "access", "token_type": "Bearer"}
            if self.path == "/token":
                answer["id_token"] = provider.id_token(request["nonce"])
            self._respond(answer)

    return Handler
