"""The pages that a person opens."""
