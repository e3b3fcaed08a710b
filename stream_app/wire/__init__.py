"""Bytes to events and effects to bytes: topics, schemas, decoders, encoders, state codec."""
