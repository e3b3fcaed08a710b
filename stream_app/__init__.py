"""A streaming churn engine for online shops; start reading at `stream_app.engine.engine`."""

__version__ = "0.1.0"
