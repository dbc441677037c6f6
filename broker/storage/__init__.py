"""Files that keep records over a crash, independent of the records' meaning."""
