"""What customers say and when: reviews, complaints, chats, feedback, surveys; and orders cancelled or sent back.

All of it follows an order's experience or the mood, days later; nothing of it changes what a customer does, so texts
can be switched off without another order in the stream.
"""

from dataclasses import dataclass

import numpy as np
import orjson

from stream_app.core.times import DAY_MS, HOUR_MS, iso
from stream_app.simulation.dynamics import State
from stream_app.simulation.encoding import CHANNELS, Encoder
from stream_app.simulation.grammar import write
from stream_app.simulation.people import Flags, People
from stream_app.simulation.places import CATEGORIES, REGIONS, Indexes
from stream_app.simulation.randomness import Chance, Floats, Keys
from stream_app.simulation.world import CAUSES, World

KINDS: tuple[str, ...] = ("review", "complaint", "chat", "feedback", "survey")
_REVIEW, _COMPLAINT, _CHAT, _FEEDBACK, _SURVEY = range(len(KINDS))
_SURVEY_DAYS = 90
_THINGS = {
    "en": ("book", "record", "toy", "pan", "lamp", "headphones", "jacket", "shoes", "cream", "ball", "tea", "gift set"),
    "zh": ("书", "唱片", "玩具", "锅", "花灯", "耳机", "外套", "鞋", "面霜", "球", "茶叶", "礼盒"),
}
_MOOD_EDGES: Floats = np.array([-1.1, -0.35, 0.45, 1.3])


@dataclass(slots=True)
class Experiences:
    """How the orders of one day went; columns by order."""

    who: Indexes
    level: Floats
    """In standard deviations; below zero is bad."""
    cause: Indexes
    """What made it so, index into CAUSES."""
    product: Indexes


@dataclass(slots=True)
class Utterances:
    """Things said on one day; columns."""

    kind: Indexes
    who: Indexes
    level: Floats
    cause: Indexes
    """-1: a question without a cause."""
    product: Indexes
    order_day: Indexes
    """-1: about no order."""

    def __len__(self) -> int:
        return len(self.who)


def experience_orders(
    people: People, world: World, chance: Chance, day: int, who: Indexes, product: Indexes
) -> Experiences:
    """Draw how each order of a day goes; a crisis in the customer's region lowers it and gives the cause."""
    keys = people.key[who]
    trouble = world.trouble[people.region[who], :, day]
    total = trouble.sum(axis=1)
    level = 0.25 + 0.95 * chance.normals("experience", keys, day) - total
    anything = (chance.uniforms("cause", keys, day) * len(CAUSES)).astype(np.int64)
    hit = chance.uniforms("hit by crisis", keys, day) < np.where(total > 0, 0.8, 0.0)
    return Experiences(who, level, np.where(hit, trouble.argmax(axis=1), anything), product)


class Voices:
    """The memory of what will be said: by due day, filled as orders are placed."""

    def __init__(self, chance: Chance, encoder: Encoder, names: list[str], products: list[str]) -> None:
        self._chance = chance
        self._encoder = encoder
        self._names = names
        self._products = products
        self._due: dict[int, list[Utterances]] = {}
        self._reversals: dict[int, list[tuple[int, int, bytes, str]]] = {}

    def after_orders(
        self, people: People, felt: Experiences, day: int, placed: list[bytes], placed_ms: Indexes
    ) -> None:
        """Plan what the orders of a day will lead to."""
        keys, chance, level = people.key[felt.who], self._chance, felt.level
        delivered = day + 1 + (chance.uniforms("delivery", keys, day) * 7).astype(np.int64)
        later = (chance.uniforms("review delay", keys, day) * 6).astype(np.int64)
        voice = people.voice[felt.who]
        speaks = chance.uniforms("reviews", keys, day) < np.minimum(0.9, 0.09 * voice * (0.5 + 0.7 * level**2))
        self._plan(_REVIEW, felt, day, delivered + 1 + later, speaks)
        complains = chance.uniforms("complains", keys, day) < np.minimum(0.9, 0.3 * voice) * (level < -0.9)
        self._plan(_COMPLAINT, felt, day, delivered + later // 2, complains)
        chats = chance.uniforms("chats", keys, day) < np.minimum(0.5, 0.03 * voice) * (level < 0.3)
        self._plan(_CHAT, felt, day, np.full(len(keys), day + 1), chats)
        tells = chance.uniforms("tells", keys, day) < np.minimum(0.5, 0.015 * voice)
        self._plan(_FEEDBACK, felt, day, delivered + 3, tells)
        self._plan_reversals(felt, day, delivered + 2 + 2 * later, placed, placed_ms, keys)

    def _plan(self, kind: int, felt: Experiences, day: int, due: Indexes, said: Flags) -> None:
        for on in np.unique(due[said]).tolist():
            rows = np.flatnonzero(said & (due == on))
            utterances = Utterances(
                np.full(len(rows), kind),
                felt.who[rows],
                felt.level[rows],
                felt.cause[rows],
                felt.product[rows],
                np.full(len(rows), day),
            )
            self._due.setdefault(on, []).append(utterances)

    def _plan_reversals(
        self, felt: Experiences, day: int, back: Indexes, placed: list[bytes], placed_ms: Indexes, keys: Keys
    ) -> None:
        unit = self._chance.uniforms("reversal", keys, day)
        partly = self._chance.uniforms("part returned", keys, day) < 0.3
        returnable = np.isin(felt.cause, (CAUSES.index("quality"), CAUSES.index("returns")))
        returning = np.where(felt.level < -0.7, np.where(returnable, 0.4, 0.12), 0.015)
        for row in np.flatnonzero(unit < returning + 0.015).tolist():
            if unit[row] < 0.015:
                due, status = day + 1, "cancelled"
            else:
                due, status = int(back[row]), "partially_returned" if partly[row] else "returned"
            self._reversals.setdefault(due, []).append((int(felt.who[row]), int(placed_ms[row]), placed[row], status))

    def reversals(self, people: People, day: int) -> tuple[Indexes, Indexes, list[bytes]]:
        """Return the orders cancelled or sent back on a day: customers, times (ms since the epoch), JSON."""
        planned = self._reversals.pop(day, [])
        who = np.array([entry[0] for entry in planned], dtype=np.int64)
        at_ms = self._times(people, who, day, "reversal hour")
        values = []
        for (_, placed_ms, placed, status), moment in zip(planned, at_ms.tolist(), strict=True):
            value = placed.replace(
                b'"timestamp":"' + iso(placed_ms).encode(), b'"timestamp":"' + iso(moment).encode(), 1
            )
            value = value.replace(b'-o","order_id"', f'-{status[0]}","order_id"'.encode(), 1)
            values.append(value.replace(b'"status":"completed"', f'"status":"{status}"'.encode(), 1))
        return who, at_ms, values

    def said_on(self, people: People, state: State, visiting: Flags, day: int) -> Utterances:
        """Return all that is said on a day: what was planned, surveys that are due and questions of visitors."""
        chance = self._chance
        everyone = np.arange(len(people))
        survey_turn = (day + people.key.astype(np.int64) % _SURVEY_DAYS) % _SURVEY_DAYS == 0
        answers = np.where(state.alive, 0.14, 0.02) * people.voice
        survey = survey_turn & (state.orders > 0) & (chance.uniforms("answers survey", people.key, day) < answers)
        asks = visiting & (chance.uniforms("asks", people.key, day) < 0.004 * people.voice)
        parts = self._due.pop(day, [])
        parts.append(self._free(_SURVEY, everyone[survey], state.mood[survey], people, day))
        parts.append(self._free(_CHAT, everyone[asks], state.mood[asks], people, day, question=True))
        columns = ("kind", "who", "level", "cause", "product", "order_day")
        return Utterances(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))

    def _free(
        self, kind: int, who: Indexes, level: Floats, people: People, day: int, *, question: bool = False
    ) -> Utterances:
        cause = (self._chance.uniforms("free cause", people.key[who], day) * len(CAUSES)).astype(np.int64)
        if question:
            cause = np.full(len(who), -1)
        nothing = np.full(len(who), -1)
        return Utterances(np.full(len(who), kind), who, level, cause, nothing, nothing)

    def _times(self, people: People, who: Indexes, day: int, purpose: str) -> Indexes:
        hour = people.hour[who] + 3.0 * self._chance.normals(purpose, people.key[who], day)
        at_ms = np.floor(hour * HOUR_MS).astype(np.int64) % (DAY_MS - 4 * HOUR_MS) + 2 * HOUR_MS
        return at_ms + self._encoder.day_ms(day)

    def encode(self, people: People, said: Utterances, day: int) -> tuple[Indexes, list[bytes]]:
        """Return times (ms since the epoch) and JSON of what was said on a day."""
        keys, chance = people.key[said.who], self._chance
        salt = day * len(KINDS) + said.kind
        at_ms = self._times(people, said.who, day, "voice hour") + said.kind * 61_000
        mood = np.searchsorted(_MOOD_EDGES, said.level + 0.25 * chance.normals("tone", keys, salt))
        stars = np.clip(np.rint(3.3 + 1.15 * said.level + 0.4 * chance.normals("stars", keys, salt)), 1, 5)
        stars = np.where(chance.uniforms("slip", keys, salt) < 0.05, 6 - stars, stars)
        score = np.clip(np.rint(7.3 + 2.2 * said.level + chance.normals("score", keys, salt)), 0, 10)
        wordy = chance.uniforms("wordy", keys, salt) < np.where(said.kind == _SURVEY, 0.4, 0.85)
        seeds = (chance.uniforms("words", keys, salt) * 2.0**52).astype(np.int64)
        values = []
        for row, who in enumerate(said.who.tolist()):
            kind = int(said.kind[row])
            language = REGIONS[int(people.region[who])].language
            cause = int(said.cause[row])
            about = "q" if cause < 0 else KINDS[kind][:2]
            value: dict[str, object] = {
                "customer_id": self._names[who],
                "timestamp": iso(int(at_ms[row])),
                "event_id": f"{self._names[who]}-{day}-{about}{int(said.order_day[row])}",
                "kind": KINDS[kind],
                "channel": CHANNELS[int(people.channel[who])],
                "region": REGIONS[int(people.region[who])].name,
            }
            product = int(said.product[row])
            if kind == _REVIEW:
                value["rating"] = int(stars[row])
            if kind == _SURVEY:
                value["score"] = int(score[row])
            if product >= 0:
                value["product_id"] = self._products[product]
                value["order_id"] = f"{self._names[who]}-{int(said.order_day[row])}"
            if wordy[row] or kind in {_COMPLAINT, _CHAT, _FEEDBACK}:
                category = product % len(CATEGORIES) if product >= 0 else int(people.favourite[who])
                value["text"] = _text(language, kind, cause, int(mood[row]), category, int(seeds[row]))
                value["language"] = language
            values.append(orjson.dumps(value))
        return at_ms, values


def _text(language: str, kind: int, cause: int, mood: int, category: int, seed: int) -> str:
    """Write one text; complaints are at best displeased, and a chat about an order reads like feedback."""
    values = {"thing": _THINGS[language][category]}
    if cause < 0:
        return write(language, "question", seed, values)
    if kind == _COMPLAINT:
        mood = min(mood, 1)
    start = "feedback" if kind == _CHAT else KINDS[kind]
    values[f"fact_{mood}"] = write(language, f"{CAUSES[cause]}_{mood}", seed, values, capital=False)
    return write(language, f"{start}_{mood}", seed + 1, values)
