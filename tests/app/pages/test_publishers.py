"""The workflows that a signed-in user trusts: the section on the account page, the forms, and the confirmation page."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from app.accounts import users
from app.db.accounts import Audit, Publisher
from app.issuers import PUBLIC_ISSUERS
from app.pages.content.ci_providers import ids_address, provider_name
from app.settings import Settings
from app.submissions.visibility import WITHHELD
from tests.app.pages.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service

PAGE = "/account/publishers"
GITHUB, GITLAB, FORGEJO = (address for _, address in PUBLIC_ISSUERS)
FIELDS = {
    "method": "ours",
    "issuer": GITHUB,
    "repository": "octo-org/octo-repo",
    "repository_id": "74",
    "owner_id": "65",
    "workflow": ".github/workflows/lds.yml",
}
OF_GITLAB = {"issuer": GITLAB, "repository": "group/sub/project", "workflow": ".gitlab-ci.yml"}
OF_FORGEJO = {"issuer": FORGEJO, "workflow": ".forgejo/workflows/lds.yml"}
OPTIONAL = {"called_workflow": "o/r/.github/workflows/x.yml", "environment": "release", "branch": "main"}


@pytest.fixture
def owner(sign_in: Callable[[str], SignedInUser], request: pytest.FixtureRequest) -> SignedInUser:
    return sign_in(hashlib.sha256(request.node.name.encode()).hexdigest()[:20])  # names of users are short


def _add(owner: SignedInUser, **changes: str) -> httpx.Response:
    form = owner.csrf_token()
    return owner.client.post(PAGE, data={"form": form} | FIELDS | changes)


def _text(owner: SignedInUser, path: str = "/account") -> str:
    return " ".join(owner.client.get(path).text.split())


def _publishers(service: Service, owner: SignedInUser) -> list[Publisher]:
    with service.database.read() as session:
        user = users.find_user(session, owner.name)
        return list(session.scalars(select(Publisher).where(Publisher.user_id == user.id).order_by(Publisher.id)))


def _inputs(page: httpx.Response) -> dict[str, str]:
    """Return the visible fields of the form of a page, with their values."""
    fields = [field for field in Markup(page.text).all("input") if field.get("type") != "hidden"]
    return {str(field["name"]): str(field["value"]) for field in fields}


def _actions(service: Service, owner: SignedInUser) -> list[tuple[str, dict[str, object] | None]]:
    with service.database.read() as session:
        rows = session.scalars(select(Audit).where(Audit.actor == owner.name).order_by(Audit.id))
        return [(row.action, row.detail) for row in rows if row.action.startswith("publisher")]


def test_workflow_is_trusted_listed_and_removed(owner: SignedInUser, sign_in_service: Service) -> None:
    assert "Workflows that you trust" not in _text(owner)
    added = _add(owner, **OPTIONAL)
    assert (added.status_code, added.url.path, added.url.fragment) == (200, "/account", "ci")
    (publisher,) = _publishers(sign_in_service, owner)
    assert {name: getattr(publisher, name) for name in FIELDS | OPTIONAL} == FIELDS | OPTIONAL
    (row,) = next(table for table in Markup(added.text).tables if table[0][0] == "Workflow")[1:]
    calls = "octo-org/octo-repo .github/workflows/lds.yml, which calls o/r/.github/workflows/x.yml"
    assert row == [calls, "ours", "environment release, branch main", "never", "Remove…"]
    assert 'href="https://github.com/octo-org/octo-repo"' in added.text
    removal = f"{PAGE}/{publisher.id}/remove"
    asked = owner.client.get(removal)
    assert "Stop trusting .github/workflows/lds.yml of octo-org/octo-repo?" in asked.text
    assert len(_publishers(sign_in_service, owner)) == 1
    removed = owner.client.post(removal, data={"form": owner.csrf_token()})
    assert (removed.status_code, removed.url.path) == (200, "/account")
    assert _publishers(sign_in_service, owner) == []
    detail = {"publisher": publisher.id, "method": "ours", "repository": "octo-org/octo-repo"}
    assert _actions(sign_in_service, owner) == [("publisher.added", detail), ("publisher.removed", detail)]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"issuer": GITHUB}, {"called_workflow", "environment"}),
        (OF_GITLAB, {"environment"}),
        (OF_FORGEJO, set()),
    ],
)
def test_form_of_each_provider_has_its_fields_and_its_advice(
    owner: SignedInUser, sign_in_service: Service, changes: dict[str, str], names: set[str]
) -> None:
    page = owner.client.get(PAGE, params={"issuer": changes["issuer"]})
    always = {"method", "repository", "repository_id", "owner_id", "workflow", "branch"}
    assert set(_inputs(page)) == always | names
    advice = {
        GITHUB: ("id-token: write", "https://api.github.com/repos/OWNER/NAME"),
        GITLAB: (f"aud: {sign_in_service.url}", "https://gitlab.com/api/v4/projects/GROUP%2FNAME"),
        FORGEJO: ("enable-openid-connect: true", "https://codeberg.org/api/v1/repos/OWNER/NAME"),
    }
    for issuer, texts in advice.items():
        assert all((text in page.text) is (issuer == changes["issuer"]) for text in texts)
    assert _add(owner, **changes).url.path == "/account"
    assert len(_publishers(sign_in_service, owner)) == 1


def test_account_page_links_to_the_form_of_every_issuer(owner: SignedInUser) -> None:
    links = [link["href"] for link in Markup(owner.client.get("/account").text).all("a")]
    forms = [str(link) for link in links if link and link.startswith(f"{PAGE}?")]
    assert len(forms) == len(PUBLIC_ISSUERS)
    for link, name in zip(forms, ("GitHub (github.com)", "GitLab (gitlab.com)", "Forgejo (codeberg.org)"), strict=True):
        assert f"<h1>Trust a workflow of {name}</h1>" in owner.client.get(link).text
    unknown = owner.client.get(PAGE, params={"issuer": "https://evil.example"})
    assert (unknown.status_code, "an issuer that this server trusts" in unknown.text) == (422, True)


def test_refused_value_is_named_and_the_form_keeps_all_values(owner: SignedInUser, sign_in_service: Service) -> None:
    hostile = '"><script>alert(1)</script>'
    assert "<script>alert" not in _add(owner, repository=hostile, method="hostile").text
    (publisher,) = _publishers(sign_in_service, owner)
    for path in (f"{PAGE}/{publisher.id}/remove", f"{PAGE}?like={publisher.id}"):
        assert "<script>alert" not in owner.client.get(path).text
    refused = _add(owner, repository=(hostile := f"{hostile} {hostile}"), **OPTIONAL)
    assert "expected repository: " in " ".join(refused.text.split())
    assert "<script>alert" not in refused.text
    expected = FIELDS | OPTIONAL | {"repository": hostile}
    assert _inputs(refused) == {name: value for name, value in expected.items() if name != "issuer"}
    assert 'name="issuer" value="https://token.actions.githubusercontent.com"' in refused.text
    _add(owner)
    assert len(_publishers(sign_in_service, owner)) == 2
    assert "You already trust this workflow for this method." in _add(owner).text
    assert len(_actions(sign_in_service, owner)) == 2


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("method", "", "1 to 64 lower-case letters, digits"),
        ("method", "Ours", "1 to 64 lower-case letters, digits"),
        ("method", "m" * 65, "1 to 64 lower-case letters, digits"),
        ("method", WITHHELD, "a method name other than"),
        ("repository", "", "at most 200 characters"),
        ("repository", "o/" + "r" * 199, "at most 200 characters"),
        ("repository_id", "", "at most 20 characters"),
        ("repository_id", "7" * 21, "at most 20 characters"),
        ("owner_id", "7" * 21, "at most 20 characters"),
        ("owner_id", "octo-org", "digits"),
        ("workflow", "", "the path of the file"),
        ("workflow", f".github/workflows/{'x' * 234}.yml", "at most 255 characters"),
        ("called_workflow", f"o/r/.github/workflows/{'x' * 475}.yml", "at most 500 characters"),
        ("environment", "x" * 256, "at most 255 characters"),
        ("branch", "x" * 256, "at most 255 characters"),
    ],
)
def test_every_invalid_field_shows_the_form_again_with_all_values(
    owner: SignedInUser, sign_in_service: Service, field: str, value: str, expected: str
) -> None:
    typed = FIELDS | OPTIONAL | {field: value}
    refused = _add(owner, **typed)
    (alert,) = re.findall(r'<p role="alert" class="notice">(.*)</p>', refused.text)
    assert f"expected {field}: " in alert
    assert expected in alert
    assert _inputs(refused) == {name: value for name, value in typed.items() if name != "issuer"}
    assert _publishers(sign_in_service, owner) == []


@pytest.mark.parametrize("field", list(FIELDS))
def test_missing_field_shows_the_form_again(owner: SignedInUser, sign_in_service: Service, field: str) -> None:
    sent = {name: value for name, value in FIELDS.items() if name != field}
    refused = owner.client.post(PAGE, data={"form": owner.csrf_token()} | sent)
    assert f"expected {field}: " in refused.text
    assert sent.items() - {("issuer", GITHUB)} <= _inputs(refused).items()
    assert _publishers(sign_in_service, owner) == []


def test_account_page_warns_of_an_environment_that_is_not_required(
    owner: SignedInUser, sign_in_service: Service
) -> None:
    _add(owner, branch="main")
    (publisher,) = _publishers(sign_in_service, owner)
    assert "not required" not in _text(owner)
    offered = {"offered_environment": "<b>release</b>"}
    with sign_in_service.database.write() as session:
        session.execute(update(Publisher).where(Publisher.id == publisher.id).values(offered))
    text = _text(owner)
    assert "The environment &lt;b&gt;release&lt;/b&gt; is not required." in text
    assert 'class="badge warning">environment not required' in text
    again = f"{PAGE}?like={publisher.id}"
    assert f'href="{again}"' in text
    wanted = FIELDS | {"called_workflow": "", "environment": "<b>release</b>", "branch": "main"}
    assert _inputs(owner.client.get(again)) == {name: value for name, value in wanted.items() if name != "issuer"}


def test_workflow_of_an_issuer_that_is_not_trusted_any_more_is_shown_and_removed(
    owner: SignedInUser, sign_in_service: Service
) -> None:
    _add(owner)
    (publisher,) = _publishers(sign_in_service, owner)
    gone = {"issuer": "https://gone.example", "offered_environment": "release"}
    with sign_in_service.database.write() as session:
        session.execute(update(Publisher).where(Publisher.id == publisher.id).values(gone))
    text = _text(owner)
    assert 'class="badge warning">issuer not trusted' in text
    assert "octo-org/octo-repo</a>" not in text
    assert "?like=" not in text
    owner.client.post(f"{PAGE}/{publisher.id}/remove", data={"form": owner.csrf_token()})
    assert _publishers(sign_in_service, owner) == []


def test_forms_need_the_csrf_token_and_pages_the_owner(
    owner: SignedInUser, sign_in: Callable[[str], SignedInUser], sign_in_service: Service
) -> None:
    guessed = {"form": "guessed"}
    assert owner.client.post(PAGE, data=FIELDS | guessed).status_code == 403
    _add(owner)
    (publisher,) = _publishers(sign_in_service, owner)
    removal = f"{PAGE}/{publisher.id}/remove"
    assert owner.client.post(removal, data=guessed).status_code == 403
    other = sign_in("another-owner-of-publishers")
    for path in (removal, f"{PAGE}?like={publisher.id}"):
        assert sign_in_service.client.get(f"{sign_in_service.url}{path}").headers["Location"] == "/sign-in"
        foreign = other.client.get(path)
        assert (foreign.status_code, "octo-org" in foreign.text) == (404, False)
    assert other.client.post(removal, data={"form": other.csrf_token()}).status_code == 404
    assert "octo-org" not in _text(other)
    assert len(_publishers(sign_in_service, owner)) == 1


def test_quota_of_trusted_workflows_is_told_on_the_form(owner: SignedInUser, sign_in_service: Service) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != "method"}
    with sign_in_service.database.write() as session:
        user = users.find_user(session, owner.name)
        session.add_all(Publisher(user_id=user.id, method=f"m{number}", **fields) for number in range(100))
    assert "The quota is 100 trusted workflows" in _add(owner).text
    assert len(_publishers(sign_in_service, owner)) == 100


def test_names_and_addresses_of_all_kinds_of_issuers(tmp_path: Path) -> None:
    others = (
        "github https://git.example/_services/token, github https://token.actions.octo.ghe.com, "
        "gitlab https://lab.example:8443, forgejo https://forge.example/sub/api/actions"
    )
    issuers = Settings(data_dir=tmp_path, ci_issuers=others).issuers
    assert {provider_name(issuer): ids_address(issuer) for issuer in issuers.values()} == {
        "GitHub (github.com)": "https://api.github.com/repos/OWNER/NAME",
        "GitLab (gitlab.com)": "https://gitlab.com/api/v4/projects/GROUP%2FNAME",
        "Forgejo (codeberg.org)": "https://codeberg.org/api/v1/repos/OWNER/NAME",
        "GitHub (git.example)": "https://git.example/api/v3/repos/OWNER/NAME",
        "GitHub (octo.ghe.com)": "https://api.octo.ghe.com/repos/OWNER/NAME",
        "GitLab (lab.example:8443)": "https://lab.example:8443/api/v4/projects/GROUP%2FNAME",
        "Forgejo (forge.example)": "https://forge.example/sub/api/v1/repos/OWNER/NAME",
    }
