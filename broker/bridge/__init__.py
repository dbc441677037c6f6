"""Bridges to other brokers: a local session on one side, a client's connection on the other."""
