"""The verbs of the broker, a file each, over one state. Nothing here knows a socket."""
