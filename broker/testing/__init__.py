"""The broker as a test fixture. Its public names are those of `pybroker.testing`."""
