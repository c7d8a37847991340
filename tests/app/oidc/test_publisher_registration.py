"""Registration of publishers: which values are accepted, and what the errors say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.issuers import parse_issuers
from app.settings import Settings
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from tests.app.oidc.exchange import Exchange

GITLAB = {"repository": "group/sub/project", "workflow": "ci/lds.yml"}
FORGEJO = {"workflow": ".forgejo/workflows/lds.yml"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issuer", "https://evil.example"),
        ("issuer", ""),
        ("repository", "octo-repo"),
        ("repository", "a/b/c"),
        ("repository", "a b/c"),
        ("repository", "a/b\u202e"),
        ("repository_id", "octo-repo"),
        ("repository_id", "-1"),
        ("repository_id", "1" * 21),
        ("owner_id", ""),
        ("owner_id", "\u0667"),
        ("workflow", "lds.yml"),
        ("workflow", "../x.yml"),
        ("workflow", ".github/workflows/lds.yml@refs/heads/main"),
        ("workflow", ".github/workflows/a/lds.yml"),
        ("workflow", ""),
        ("called_workflow", ".github/workflows/lds.yml"),
        ("called_workflow", "o/r/.github/workflows/lds.yml@v1"),
        ("environment", "a\nb"),
        ("environment", "x" * 256),
        ("branch", "refs/heads/main"),
        ("branch", "a b"),
    ],
)
def test_invalid_value_is_named(exchange: Exchange, field: str, value: str) -> None:
    with pytest.raises(ProblemError, match=f"expected {field}: ") as raised:
        exchange.register(**{field: value})
    assert raised.value.problem.code == "request.invalid"


@pytest.mark.parametrize(
    ("provider_name", "changes"),
    [
        ("gitlab", GITLAB | {"called_workflow": "o/r/.github/workflows/x.yml"}),
        ("forgejo", FORGEJO | {"called_workflow": "o/r/.github/workflows/x.yml"}),
        ("forgejo", FORGEJO | {"environment": "release"}),
    ],
)
def test_condition_that_the_provider_cannot_state_is_refused(
    exchange: Exchange, provider_name: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ProblemError, match=f"because {provider_name} has no such claim"):
        exchange.register(issuer=getattr(exchange.provider, provider_name), **changes)


def test_values_are_stripped_and_empty_conditions_are_none(exchange: Exchange) -> None:
    spaced = {"method": " ours ", "repository_id": " 74 ", "workflow": " .github/workflows/a.yaml "}
    row = exchange.register(**spaced, environment="  ", branch="", called_workflow="")
    assert {name: getattr(row, name) for name in spaced} == {name: value.strip() for name, value in spaced.items()}
    assert (row.environment, row.branch, row.called_workflow) == (None, None, None)
    assert exchange.register(issuer=exchange.provider.gitlab, **GITLAB).workflow == "ci/lds.yml"
    assert exchange.register(issuer=exchange.provider.forgejo, **FORGEJO).issuer == exchange.provider.forgejo


def test_equal_publisher_is_refused_and_another_is_not(exchange: Exchange) -> None:
    exchange.register()
    with pytest.raises(ProblemError, match="already trust this workflow"):
        exchange.register(repository="octo-org/renamed")
    exchange.register(branch="main")
    exchange.register(method="theirs")
    exchange.register("bob")


def test_public_issuers_are_known() -> None:
    issuers = Settings(ci_issuers="").issuers
    assert {(each.address, each.keys, each.site) for each in issuers.values()} == {
        (
            "https://token.actions.githubusercontent.com",
            "https://token.actions.githubusercontent.com/.well-known/jwks",
            "https://github.com",
        ),
        ("https://gitlab.com", "https://gitlab.com/oauth/discovery/keys", "https://gitlab.com"),
        (
            "https://codeberg.org/api/actions",
            "https://codeberg.org/api/actions/.well-known/keys",
            "https://codeberg.org",
        ),
    }


@pytest.mark.parametrize(
    ("entry", "keys", "site"),
    [
        (
            "github https://github.example/_services/token",
            "https://github.example/_services/token/.well-known/jwks",
            "https://github.example",
        ),
        (
            "github https://token.actions.octocorp.ghe.com",
            "https://token.actions.octocorp.ghe.com/.well-known/jwks",
            "https://octocorp.ghe.com",
        ),
        (
            "github https://token.actions.githubusercontent.com/octocorp",
            "https://token.actions.githubusercontent.com/octocorp/.well-known/jwks",
            "https://github.com",
        ),
        (
            "gitlab https://git.example/gitlab",
            "https://git.example/gitlab/oauth/discovery/keys",
            "https://git.example/gitlab",
        ),
        (
            "forgejo https://git.example/api/actions https://keys.example/jwks",
            "https://keys.example/jwks",
            "https://git.example",
        ),
    ],
)
def test_further_issuers_come_from_the_settings(entry: str, keys: str, site: str) -> None:
    issuer = Settings(ci_issuers=f" , {entry},").issuers[entry.split()[1]]
    assert (issuer.provider, issuer.keys, issuer.site) == (entry.partition(" ")[0], keys, site)


@pytest.mark.parametrize(
    "entry",
    [
        "https://git.example",
        "gitea https://git.example",
        "gitlab",
        "gitlab https://a.example https://b.example https://c.example",
        "gitlab http://git.example",
        "gitlab http://localhost:1",
        "gitlab https://git.example http://git.example/keys",
        "gitlab ftp://git.example",
        "gitlab git.example",
        "gitlab https://user@git.example",
        "gitlab https://git.example?x=1",
        "gitlab https://",
        f"gitlab https://git.example/{'x' * 300}",
    ],
)
def test_unsafe_issuer_prevents_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match="LDSBOARD_CI_ISSUERS"):
        Settings(ci_issuers=entry)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("gitlab http://127.0.0.1:1", True),
        ("gitlab http://localhost:1 http://[::1]:2/keys", True),
        ("gitlab http://git.example", False),
        ("gitlab https://git.example http://localhost:1/keys", False),
        ("gitlab http://localhost:1 http://git.example/keys", False),
    ],
)
def test_http_is_for_issuers_on_this_machine_in_tests(text: str, *, accepted: bool) -> None:
    if accepted:
        assert parse_issuers(text, allow_loopback=True)
    else:
        with pytest.raises(ValueError, match="https://HOST/PATH"):
            parse_issuers(text, allow_loopback=True)
