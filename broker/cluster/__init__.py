"""Many processes, one broker: what they tell each other, over whatever carries it."""
