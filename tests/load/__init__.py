"""How much the scaled topology carries; see `tests.load.__main__`."""
