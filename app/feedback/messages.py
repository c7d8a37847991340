"""The messages that webhooks send: the body, and the headers with the signature.

Headers and signature follow the specification *Standard Webhooks* 1.0.0, for which libraries in many languages exist:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from app.accounts.webhooks import SECRET_PREFIX
from app.results.submission_views import submission_view
from app.submissions import visibility

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.models import Submission
    from app.db.webhooks import WebhookCall


class Message(NamedTuple):
    """What one attempt of a call needs: the body to send, the address of the receiver, and the secret for the signature."""

    call_id: str
    user_id: int
    url: str
    secret: str
    body: bytes

    def headers(self) -> dict[str, str]:
        """Return the headers of the request, with the present time and a signature over id, time and body."""
        timestamp = str(int(time.time()))
        return {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "LDSBoard-Webhook/1",
            "Webhook-Id": self.call_id,
            "Webhook-Timestamp": timestamp,
            "Webhook-Signature": signature(self.secret, self.call_id, timestamp, self.body),
        }


def event_type(event: str) -> str:
    """Return the type of a message about a new state of a submission, such as ``submission.scored``."""
    return f"submission.{event}"


def write_message(session: Session, call: WebhookCall, public_url: str) -> Message:
    """Return the message of a call, with the data of the submission that everybody is allowed to see at present."""
    content = {
        "type": event_type(call.event),
        "timestamp": call.created_at.isoformat(),
        "url": f"{public_url}/submissions/{call.submission_id}",
        "data": _public_data(session, call.submission),
    }
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Message(call.id, call.webhook.user_id, call.webhook.url, call.webhook.secret, body)


def _public_data(session: Session, submission: Submission) -> dict[str, Any]:
    """Return the data of a submission that the API shows to callers without a token.

    Only the id and the state of a private or suspended submission are returned. The receiver can be a chat that many people
    read, so a message must not hold data that are hidden from the public.
    """
    if visibility.is_restricted(submission):
        return {"id": submission.id, "state": submission.state}
    return submission_view(session, submission).model_dump(mode="json")


def signature(secret: str, call_id: str, timestamp: str, body: bytes) -> str:
    """Return the value of the header ``Webhook-Signature``: ``v1,`` and the HMAC-SHA256 of id, timestamp and body, in Base64."""
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{call_id}.{timestamp}.".encode() + body
    return f"v1,{b64encode(hmac.new(key, signed, sha256).digest()).decode()}"
