"""Attacks on the reachability of a server, with measured bounds: ``make siege``."""
