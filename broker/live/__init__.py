"""Live data of a running broker, for people who watch it; does nothing while nobody watches."""
