"""The stream-app command, one module a group."""
