"""Training models of a benchmark again, as its recipe says. This part of the library needs torch."""
