"""Scoring in a process of its own. Nothing is imported here: the child must not see the rest of the service."""
