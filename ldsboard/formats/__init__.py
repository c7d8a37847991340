"""Read files of scores: those that the server accepts, and those that only programs on the user's own machine read."""
