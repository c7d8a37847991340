"""Output, exit codes and progress bar of the command line."""
