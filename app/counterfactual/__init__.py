"""Counterfactual evaluations of listed submissions, in processes of their own that never delay scoring."""
