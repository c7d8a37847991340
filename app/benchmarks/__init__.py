"""Published benchmarks: their versions, examples and margins."""
