"""Scoring processes: a fork server, and one child process for each score file."""
