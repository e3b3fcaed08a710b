"""What the engine wants of a text: one number."""

from typing import Protocol


class Sentiment(Protocol):
    """Tells how a text sounds. Deterministic; the same text and language always give the same number."""

    def polarity(self, text: str, language: str | None = None) -> float:
        """Return -1 (as bad as can be) to 1 (as good as can be), 0 for neutral or not understood."""
        ...


class NeutralSentiment:
    """Hears nothing: for shops without texts, and for tests."""

    def polarity(self, text: str, language: str | None = None) -> float:
        """Return 0."""
        del text, language
        return 0.0
