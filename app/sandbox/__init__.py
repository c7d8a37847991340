"""Scoring in processes of its own. Nothing is imported here: they must not see the rest of the service."""
