"""Counterfactual evaluation: the fall of a target's margin after retraining without the examples that the scores name."""
