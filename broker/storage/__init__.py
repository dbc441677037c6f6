"""Files that keep records over a crash; they know nothing of what the records mean."""
