"""Sentiment from lexicons: VADER for English (Hutto and Gilbert 2014), a small lexicon of our own for Chinese.

About 50 microseconds for 20 English words, which is why texts are cut and repeated texts ("ok", "very good") are
remembered.
"""

import re
from functools import lru_cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from stream_app.sentiment.chinese import chinese_polarity

LONGEST_TEXT = 2_000
"""Characters that are read; what follows changes the tone of a review little and its cost a lot."""
_REMEMBERED = 4_096
_REMEMBERED_LENGTH = 64
"""Only short texts repeat."""

_HAN = re.compile(r"[\u4e00-\u9fff]")
_HAN_SHARE = 0.2


class LexicalSentiment:
    """Polarity by lexicon: English and Chinese; a text in a language it does not know is neutral, not guessed."""

    def __init__(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._polarity)

    def polarity(self, text: str, language: str | None = None) -> float:
        """Return -1 to 1 by the first 2,000 characters; VADER's compound for English.

        Without a language, text with Chinese characters is Chinese and all else English.
        """
        text = text[:LONGEST_TEXT].strip()
        if not text:
            return 0.0
        known = _language(text, language)
        if len(text) <= _REMEMBERED_LENGTH:
            return self._remembered(text, known)
        return self._polarity(text, known)

    def _polarity(self, text: str, language: str) -> float:
        if language == "zh":
            return chinese_polarity(text)
        if language == "en":
            return float(self._analyzer.polarity_scores(text)["compound"])
        return 0.0


def _language(text: str, tag: str | None) -> str:
    if tag:
        return tag.replace("_", "-").split("-")[0].lower()
    return "zh" if len(_HAN.findall(text)) >= max(1, _HAN_SHARE * len(text)) else "en"
