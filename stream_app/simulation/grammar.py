"""A small grammar of what customers write, in English and Chinese, by cause and mood; every word is ours.

A symbol in angle brackets is replaced by one of its expansions; choices come from a seed, so the same seed writes the
same text. Moods run from 0 (furious) to 4 (delighted).
"""

import re
from collections.abc import Mapping

from stream_app.simulation.phrases_en import ENGLISH
from stream_app.simulation.phrases_zh import CHINESE

Grammar = Mapping[str, tuple[str, ...]]
GRAMMARS: Mapping[str, Grammar] = {"en": ENGLISH, "zh": CHINESE}

_SYMBOL = re.compile(r"<([a-z0-9_]+)>")
_MULTIPLIER, _INCREMENT, _MASK = 6364136223846793005, 1442695040888963407, (1 << 64) - 1
_DEEPEST = 12


class _Choices:
    """A 64-bit linear congruential generator (Knuth's MMIX constants), read from its high bits."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * _MULTIPLIER + _INCREMENT) & _MASK

    def below(self, count: int) -> int:
        self._state = (self._state * _MULTIPLIER + _INCREMENT) & _MASK
        return (self._state >> 33) % count


def write(language: str, symbol: str, seed: int, values: Mapping[str, str], *, capital: bool = True) -> str:
    """Return a text derived from a symbol of a language's grammar.

    Parameters
    ----------
    language
        en or zh; anything else writes English.
    symbol
        Where to start, e.g. `review_delivery_0`.
    seed
        Which of the texts.
    values
        What stands for the terminals that the caller knows, e.g. `thing`.
    capital
        Begin with a capital letter; a part that goes into another text does not.
    """
    grammar = GRAMMARS.get(language, ENGLISH)
    choices = _Choices(seed)

    def expand(name: str, depth: int) -> str:
        if name in values:
            return values[name]
        if depth > _DEEPEST:
            raise ValueError(f"the grammar of {language!r} does not end: <{name}> is nested {depth} deep")
        options = grammar.get(name)
        if options is None:
            raise ValueError(f"the grammar of {language!r} has no symbol <{name}>")
        option = options[choices.below(len(options))]
        return _SYMBOL.sub(lambda found: expand(found.group(1), depth + 1), option)

    text = expand(symbol, 0).strip()
    return text[:1].upper() + text[1:] if capital else text
