"""Files of NanoMQ before 0.19: recognised, so that none of them starts an open broker, and converted."""
