"""Submissions and their score files, from upload to queue."""
