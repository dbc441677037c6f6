"""The page: static files, and the stream of events that they show."""
