"""What goes on in a broker right now, for people who watch it; nothing is done while nobody does."""
