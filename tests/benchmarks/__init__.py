"""What keeps the broker fast, and what measures it."""
