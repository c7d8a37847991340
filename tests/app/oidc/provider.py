"""A CI provider in a thread: it publishes key sets over HTTP, and signs identity tokens with its own keys.

One server plays three issuers, of GitHub, GitLab and Forgejo. It also answers the request with which a job asks GitHub or Forgejo
for its identity token.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

REQUEST_TOKEN = "request-token"  # opens nothing
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GITHUB_PATH, GITLAB_PATH, FORGEJO_PATH = "/_services/token", "/gitlab", "/forge/api/actions"
MOVED_PATH = "/moved-keys"
KEY_PATHS = {
    f"{GITHUB_PATH}/.well-known/jwks",
    f"{GITLAB_PATH}/oauth/discovery/keys",
    f"{FORGEJO_PATH}/.well-known/keys",
}


class CiProvider:
    """The provider. Tests change ``keys``, the published key set, and ``status``, the status of its responses.

    ``fetches`` counts the requests for the key set. ``answer`` is the body that replaces the key set, if it is not None.
    ``claims`` are the claims of the tokens that a job requests, and ``signer`` makes such a token from its claims.
    """

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.signing_keys: dict[str, Any] = {"rsa": self.rsa, "ec": self.ec}
        self.publish_all()
        self.fetches, self.status = 0, 200
        self.answer: bytes | None = None
        self.location: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.github = f"{self.address}{GITHUB_PATH}"
        self.gitlab = f"{self.address}{GITLAB_PATH}"
        self.forgejo = f"{self.address}{FORGEJO_PATH}"
        self.claims: dict[str, Any] = self.github_claims()
        self.signer: Callable[[dict[str, Any]], str] = self.sign

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
        """The settings of a server that trusts the three issuers."""
        issuers = f"github {self.github}, gitlab {self.gitlab}, forgejo {self.forgejo}"
        return {"ci_issuers": issuers, "ci_loopback": "true"}

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a job requests its identity token."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.address}/request?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
        }

    def publish_all(self) -> None:
        """Publish the public halves of all signing keys."""
        self.keys: list[dict[str, Any]] = [public_key(key, name) for name, key in self.signing_keys.items()]

    def reset(self) -> None:
        """Serve the key set of all signing keys again."""
        self.status, self.answer, self.location = 200, None, None
        self.claims, self.signer = self.github_claims(), self.sign
        self.publish_all()

    def _common(self, issuer: str, audience: str) -> dict[str, Any]:
        moment = int(time.time())
        return {
            "iss": issuer,
            "aud": audience,
            "iat": moment,
            "nbf": moment - 5,
            "exp": moment + 300,
            "jti": secrets.token_hex(16),
        }

    def github_claims(self, audience: str = "https://board.example", **changes: Any) -> dict[str, Any]:
        """Return the claims of a push to the branch main of octo-org/octo-repo; claims that are None are left out."""
        workflow = "octo-org/octo-repo/.github/workflows/lds.yml@refs/heads/main"
        claims = self._common(self.github, audience) | {
            "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
            "actor": "octocat",
            "actor_id": "12",
            "base_ref": "",
            "event_name": "push",
            "head_ref": "",
            "job_workflow_ref": workflow,
            "ref": "refs/heads/main",
            "ref_type": "branch",
            "repository": "octo-org/octo-repo",
            "repository_id": "74",
            "repository_owner": "octo-org",
            "repository_owner_id": "65",
            "repository_visibility": "public",
            "run_id": "4242",
            "run_number": "10",
            "run_attempt": "2",
            "runner_environment": "github-hosted",
            "sha": COMMIT,
            "workflow": "LDS",
            "workflow_ref": workflow,
        }
        return _changed(claims, changes)

    def gitlab_claims(self, audience: str = "https://board.example", **changes: Any) -> dict[str, Any]:
        """Return the claims of a pipeline of the branch main of my-group/my-project; claims that are None are left out."""
        place = self.gitlab.partition("://")[2]
        claims = self._common(self.gitlab, audience) | {
            "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
            "ci_config_ref_uri": f"{place}/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
            "job_id": "302",
            "job_project_path": "my-group/my-project",
            "namespace_id": "72",
            "namespace_path": "my-group",
            "pipeline_id": "574",
            "pipeline_source": "push",
            "project_id": "20",
            "project_path": "my-group/my-project",
            "ref": "main",
            "ref_path": "refs/heads/main",
            "ref_type": "branch",
            "sha": COMMIT,
        }
        return _changed(claims, changes)

    def forgejo_claims(self, audience: str = "https://board.example", **changes: Any) -> dict[str, Any]:
        """Return the claims of a push on Forgejo, which has no jti; claims that are None are left out."""
        claims = self._common(self.forgejo, audience) | {
            "sub": "repo:user1/testing:ref:refs/heads/main",
            "jti": None,
            "event_name": "push",
            "ref": "refs/heads/main",
            "ref_type": "branch",
            "repository": "user1/testing",
            "repository_id": "84",
            "repository_owner": "user1",
            "repository_owner_id": "9",
            "run_id": "4343",
            "run_number": "43",
            "sha": COMMIT,
            "workflow_ref": "user1/testing/.forgejo/workflows/lds.yml@refs/heads/main",
        }
        return _changed(claims, changes)

    def sign(self, claims: dict[str, Any], key: str = "rsa", **headers: Any) -> str:
        """Return an identity token with these claims, signed with the key of this name."""
        algorithm = "RS256" if isinstance(self.signing_keys[key], rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(claims, self.signing_keys[key], algorithm, headers={"kid": key} | headers)


def public_key(key: Any, name: str, **members: Any) -> dict[str, Any]:
    """Return the entry of a key set for the public half of a key."""
    algorithm, kind = (RSAAlgorithm, "RS256") if isinstance(key, rsa.RSAPrivateKey) else (ECAlgorithm, "ES256")
    entry: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return entry | {"kid": name, "use": "sig", "alg": kind} | members


def _changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not None}


def _handler(provider: CiProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _respond(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            if provider.location is not None:
                self.send_header("Location", provider.location)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path in KEY_PATHS:
                provider.fetches += 1
                body = json.dumps({"keys": provider.keys}).encode() if provider.answer is None else provider.answer
                self._respond(body, provider.status)
            elif address.path == MOVED_PATH:  # a whole key set, to which a redirect can lead
                body = json.dumps({"keys": provider.keys}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            elif address.path.endswith("/.well-known/openid-configuration"):
                issuer = provider.address + address.path.removesuffix("/.well-known/openid-configuration")
                self._respond(json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/.well-known/jwks"}).encode())
            elif address.path == "/request" and self.headers["Authorization"] == f"bearer {REQUEST_TOKEN}":
                audience = parse_qs(address.query)["audience"][0]
                claims = provider.claims | {"aud": audience, "jti": secrets.token_hex(16)}
                self._respond(json.dumps({"value": provider.signer(claims)}).encode())
            else:
                self._respond(b"{}", 404)

    return Handler
