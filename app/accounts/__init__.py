"""Users, their tokens, quotas and rate limits, and the audit log."""
