import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.sentiment.lexical import LONGEST_TEXT, LexicalSentiment
from stream_app.sentiment.protocol import NeutralSentiment, Sentiment

LEXICAL = LexicalSentiment()


@pytest.mark.parametrize(
    ("text", "language", "sign"),
    [
        ("I love it, great quality and fast delivery!", "en", 1),
        ("I love it, great quality and fast delivery!", None, 1),
        ("Terrible. It broke after a day and nobody answers.", "en-GB", -1),
        ("It was not good.", None, -1),
        ("The parcel has three items.", "en", 0),
        ("质量很好,非常满意", None, 1),
        ("质量很好,非常满意", "zh-CN", 1),
        ("太失望了,包装破损,要求退款", "zh_TW", -1),
        ("不好", "zh", -1),
        ("Das ist wunderbar, great", "de", 0),
        ("", None, 0),
        ("   ", "en", 0),
    ],
)
def test_polarity_has_the_sign_that_a_person_hears(text: str, language: str | None, sign: int) -> None:
    polarity = LEXICAL.polarity(text, language)

    assert (polarity > 0.05) - (polarity < -0.05) == sign


@pytest.mark.parametrize("sentiment", [LEXICAL, NeutralSentiment()])
@given(text=st.text(max_size=300), language=st.sampled_from([None, "en", "zh", "fr", ""]))
def test_polarity_is_bounded_and_repeatable_whatever_the_text(
    sentiment: Sentiment, text: str, language: str | None
) -> None:
    first = sentiment.polarity(text, language)

    assert -1.0 <= first <= 1.0
    assert sentiment.polarity(text, language) == first


def test_only_the_beginning_of_a_long_text_counts() -> None:
    text = "good " * (LONGEST_TEXT // 5)

    assert LEXICAL.polarity(text + "terrible " * 500, "en") == LEXICAL.polarity(text, "en")


def test_negation_turns_chinese_praise_around() -> None:
    assert LEXICAL.polarity("不满意", "zh") < 0 < LEXICAL.polarity("满意", "zh")
