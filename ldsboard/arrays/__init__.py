"""Convert and check the arrays that callers pass: scores, masks and margins."""
