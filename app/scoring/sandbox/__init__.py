"""The scoring processes: a fork server, and a child of it for each file."""
