"""An identity provider to sign in with: OpenID Connect with PKCE and signed tokens, and GitHub's older way, in a thread.

It asks nobody anything: whoever is ``current`` is signed in at once.
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
    """The provider, its signed-in user, and what a dishonest one would change in what it says of them."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.shown = self.key
        self.sign_in("1", "ada")
        self.codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def sign_in(self, subject: str, name: str) -> None:
        """Know somebody as who is signed in from now on, and tell the truth of them."""
        self.current: dict[str, Any] = {"sub": subject, "preferred_username": name}
        self.lies: dict[str, Any] = {}

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
        """What a server must be told to sign people in here."""
        return {
            "oidc_issuer": self.address,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
            "github_client_id": CLIENT,
            "github_client_secret": SECRET,
            "github_url": self.address,
        }

    def id_token(self, nonce: str) -> str:
        """Return a signed token on who is signed in."""
        claims = {"iss": self.address, "aud": CLIENT, "iat": int(time.time()), "exp": int(time.time()) + 60}
        claims |= {"nonce": nonce} | self.current | self.lies
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:  # noqa: C901 -- the calls of a provider, one after the other
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _say(self, answer: object, status: int = 200) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(address.query).items()}
            match address.path:
                case "/.well-known/openid-configuration":
                    at = provider.address
                    ends = {"authorization_endpoint": f"{at}/authorize", "token_endpoint": f"{at}/token"}
                    self._say({"issuer": at, "jwks_uri": f"{at}/keys"} | ends)
                case "/keys":
                    self._say({"keys": [provider.shown.as_dict(private=False)]})
                case "/authorize" | "/login/oauth/authorize":
                    code = secrets.token_hex(8)
                    provider.codes[code] = asked
                    back = urlencode({"code": code, "state": asked["state"]})
                    self.send_response(302)
                    self.send_header("Location", f"{asked['redirect_uri']}?{back}")
                    self.end_headers()
                case "/api/v3/user":
                    if self.headers["Authorization"] == "Bearer access":
                        self._say({"id": int(provider.current["sub"]), "login": provider.current["preferred_username"]})
                    else:
                        self._say({}, 401)
                case _:
                    self._say({}, 404)

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(sent).items()}
            asked = provider.codes.pop(form.get("code", ""), None)
            basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            known = self.headers["Authorization"] == f"Basic {basic}" or form.get("client_secret") == SECRET
            challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
            if asked is None or not known or challenge.decode().rstrip("=") != asked.get("code_challenge"):
                self._say({"error": "invalid_grant"}, 400)
                return
            answer = {"access_token": "access", "token_type": "Bearer"}
            if self.path == "/token":
                answer["id_token"] = provider.id_token(asked["nonce"])
            self._say(answer)

    return Handler
