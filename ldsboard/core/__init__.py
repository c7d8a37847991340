"""The scoring core: exact predictions, ranks, and the statistics of the LDS. Pure functions of arrays."""
