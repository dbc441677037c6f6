"""Faults between a client and the broker, injected on purpose, to test clients."""
