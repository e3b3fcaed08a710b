"""Models by name: one small file each and one entry in `registry`."""
