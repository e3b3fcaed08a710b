"""Helpers that tests share: builders of events and logs, recording doubles."""
