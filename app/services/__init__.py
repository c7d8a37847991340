"""What the service does, as functions on a session; the API and the pages both call these."""
