"""Changes by operators and owners (publishing, editing, withdrawal), consistency checks and recovery."""
