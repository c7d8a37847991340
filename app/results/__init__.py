"""Results of submissions: views, comparisons and history."""
