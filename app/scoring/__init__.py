"""The evaluation queue, the processes that score files, and rescoring."""
