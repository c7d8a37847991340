"""Formats of score files, each read by a parser that is safe for untrusted files."""
