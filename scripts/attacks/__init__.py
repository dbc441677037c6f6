"""The attacks of `scripts/hostile`, and their measurement."""
