"""The attacks of `scripts/hostile`, and what measures them."""
