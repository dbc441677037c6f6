"""The handlers of packets, one file for each group of packet types, over one state (`engine.py`). Nothing
here knows a socket."""
