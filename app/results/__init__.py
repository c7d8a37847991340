"""Results of submissions: response models, comparisons and the history of boards."""
