"""Webhooks: the server tells the owner of a submission that the submission is scored or rejected, or has failed."""
