from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.sentiment.lexical import LexicalSentiment
from stream_app.simulation.grammar import GRAMMARS, write
from stream_app.simulation.world import CAUSES

LANGUAGES = ("en", "zh")
TEXTS = [f"{kind}_{mood}" for kind in ("review", "feedback", "survey") for mood in range(5)]


def told(language: str, start: str, cause: str, mood: int, seed: int) -> str:
    values = {"thing": "lamp" if language == "en" else "花灯"}
    values[f"fact_{mood}"] = write(language, f"{cause}_{mood}", seed, values, capital=False)
    return write(language, start, seed, values)


@given(st.sampled_from(LANGUAGES), st.sampled_from(TEXTS), st.sampled_from(CAUSES), st.integers(0, 2**60))
def test_a_text_is_a_function_of_its_seed_and_leaves_no_symbol(
    language: str, start: str, cause: str, seed: int
) -> None:
    mood = int(start[-1])
    text = told(language, start, cause, mood, seed)

    assert text == told(language, start, cause, mood, seed)
    assert text
    assert "<" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_languages_have_the_same_symbols(language: str) -> None:
    known = set(GRAMMARS["en"]) - {"intense_bad", "intense_good"}

    assert known <= set(GRAMMARS[language])
    assert {f"{cause}_{mood}" for cause in CAUSES for mood in range(5)} <= set(GRAMMARS[language])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("cause", CAUSES)
def test_every_single_expansion_ends(language: str, cause: str) -> None:
    for seed in range(200):
        for mood in range(5):
            assert told(language, f"review_{mood}", cause, mood, seed)


def test_an_unknown_symbol_and_an_endless_grammar_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no symbol <nonsense>"):
        write("en", "nonsense", 1, {})
    endless: Mapping[str, tuple[str, ...]] = {"a": ("<a>",)}
    monkeypatch.setitem(GRAMMARS, "xx", endless)
    with pytest.raises(ValueError, match="does not end"):
        write("xx", "a", 1, {})


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_products_sentiment_reads_moods_in_their_order(language: str) -> None:
    sentiment = LexicalSentiment()
    means = []
    for mood in range(5):
        scores = [
            sentiment.polarity(told(language, f"review_{mood}", cause, mood, seed), language)
            for cause in CAUSES
            for seed in range(40)
        ]
        means.append(sum(scores) / len(scores))

    assert max(means[0], means[1]) + 0.05 < means[2] < min(means[3], means[4]) - 0.05
    assert means[0] < -0.2
    assert means[4] > 0.2
