"""Changes by operators and owners: publishing, editing and consistency checks."""
