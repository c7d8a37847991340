"""The evaluation service: takes score files, computes the LDS, stores the results and shows a leaderboard."""
