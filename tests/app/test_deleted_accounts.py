"""Names and sign-ins of deleted accounts: nobody gets the name again, and the same identity waits for a new account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from app.accounts import deleted_accounts, external_identities, tokens, users
from app.db.accounts import Identity, Role, User
from app.db.base import now
from app.management import recovery
from ldsboard import ProblemError
from tests.app.aging import NOTHING, sweep_all
from tests.app.test_account_deletion import delete_account, user_id_of

if TYPE_CHECKING:
    from tests.app.harness import ServiceHarness

IDENTITY = ("https://login.example.org", "1", "zora")


def test_name_is_never_given_to_another_user(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        external_identities.find_or_add_user(session, *IDENTITY)
    placeholder = delete_account(harness)
    with harness.database.write() as session:
        for name in ("zora", placeholder, "deleted-99"):
            with pytest.raises(ValueError, match="Choose another name"):
                users.add_user(session, name)
        with pytest.raises(ValueError, match="There is no user"):
            users.find_user(session, placeholder)
        other = external_identities.find_or_add_user(session, "https://login.example.org", "2", "zora")
        third = external_identities.find_or_add_user(session, "https://login.example.org", "3", placeholder)
    assert (other.name, third.name) == ("zora-2", f"user-{placeholder}")


def test_same_identity_creates_no_new_account_for_some_time(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        first = external_identities.find_or_add_user(session, *IDENTITY).id
    delete_account(harness)
    with harness.database.read() as session:
        assert "1" not in session.scalars(select(Identity.subject)).all()
    with pytest.raises(ProblemError, match="or later to create a new account"), harness.database.write() as session:
        external_identities.find_or_add_user(session, *IDENTITY)
    recovery.recover_at_start(harness.database, harness.storage, harness.presence)
    with harness.database.write() as session:
        assert session.scalar(select(func.count()).select_from(Identity)) == 1
        session.get_one(User, first).deleted_at = now() - deleted_accounts.WAIT
    recovery.recover_at_start(harness.database, harness.storage, harness.presence)
    with harness.database.write() as session:
        assert session.scalar(select(func.count()).select_from(Identity)) == 0
        assert external_identities.find_or_add_user(session, *IDENTITY).name == "zora-2"


@pytest.mark.parametrize("forgotten", ["at the sign-in", "by the sweep"])
def test_account_of_the_same_identity_can_be_deleted_again(harness: ServiceHarness, forgotten: str) -> None:
    with harness.database.write() as session:
        external_identities.find_or_add_user(session, *IDENTITY)
    first = delete_account(harness)
    with harness.database.write() as session:
        session.scalars(select(User).where(User.name == first)).one().deleted_at = now() - deleted_accounts.WAIT
    if forgotten == "by the sweep":
        assert sweep_all(harness) == NOTHING._replace(identities=1)
        with harness.database.read() as session:
            assert session.scalar(select(func.count()).select_from(Identity)) == 0
    with harness.database.write() as session:
        second = external_identities.find_or_add_user(session, *IDENTITY).name
    assert delete_account(harness, second) != first


def test_identity_of_a_banned_and_deleted_user_stays_banned(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        user = external_identities.find_or_add_user(session, *IDENTITY)
        user.ban = {"reason": "Spam.", "contact": "the operator", "at": now().isoformat()}
    user_id = user_id_of(harness, "zora")
    delete_account(harness)
    with harness.database.write() as session:
        session.get_one(User, user_id).deleted_at = now() - 2 * deleted_accounts.WAIT
        deleted_accounts.forget_identities(session)
        with pytest.raises(ProblemError, match=r"Spam\."):
            external_identities.find_or_add_user(session, *IDENTITY)


def test_placeholder_differs_from_the_name_of_an_older_account(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        zora = users.add_user(session, "zora")
        session.add(User(name=f"deleted-{zora.id}", role=Role.USER))
    assert delete_account(harness).startswith(f"deleted-{zora.id}-")


def test_token_of_a_deleted_user_cannot_be_created(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        user_id = users.add_user(session, "zora").id
    delete_account(harness)
    with harness.database.write() as session, pytest.raises(ProblemError, match="The account was deleted"):
        tokens.create(session, session.get_one(User, user_id))
