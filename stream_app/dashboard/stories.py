"""What happened to single customers, told as timelines: the part of the page that makes a score believable."""

from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field

Entry = dict[str, object]

TIMELINE_ENTRIES = 28
SCORE_POINTS = 60


@dataclass
class Story:
    """One customer's last steps and scores, the newest last."""

    customer_id: str
    tier: str = "low"
    probability: float = 0.0
    peak: float = 0.0
    contacted_at_ms: int = 0
    entries: list[Entry] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    def tell(self, at_ms: int, kind: str, text: str, detail: str = "") -> None:
        """Add a step; steps of several topics may come late by a little, so it is put where its time belongs."""
        entry: Entry = {"at": at_ms, "kind": kind, "text": text, "detail": detail}
        if self.entries and self.entries[-1]["text"] == text and kind == "suppressed":
            self.entries.pop()  # the same "no" again: the newest stands for all
        place = len(self.entries)
        while place and int(str(self.entries[place - 1]["at"])) > at_ms:
            place -= 1
        self.entries.insert(place, entry)
        del self.entries[:-TIMELINE_ENTRIES]
        self.kinds.add(kind)

    def score(self, at_ms: int, probability: float, tier: str) -> None:
        """Add a point to the risk curve, where its time belongs: a late event is scored at its own time."""
        self.tier, self.probability, self.peak = tier, probability, max(self.peak, probability)
        insort(self.scores, (at_ms, round(probability, 4)))
        if len(self.scores) > SCORE_POINTS:
            # the far past gets coarser, the last third stays whole
            self.scores = [*self.scores[: SCORE_POINTS * 2 // 3 : 2], *self.scores[SCORE_POINTS * 2 // 3 :]]

    def worth(self) -> tuple[bool, int, float, int]:
        """Rank the story: contacted customers with the most kinds of steps, the highest risk and the most to tell."""
        return self.contacted_at_ms > 0, len(self.kinds), round(self.peak, 1), len(self.entries)


class StoryBook:
    """Keeps the stories of a bounded number of customers: those touched last, and longer those who were contacted."""

    def __init__(self, capacity: int = 3_000, contacted_capacity: int = 300) -> None:
        self._capacity = capacity
        self._contacted_capacity = contacted_capacity
        self._recent: OrderedDict[str, Story] = OrderedDict()
        self._contacted: OrderedDict[str, Story] = OrderedDict()

    def open(self, customer_id: str) -> Story:
        """Return a customer's story, beginning one where there is none."""
        story = self.find(customer_id)
        if story is None:
            story = self._recent[customer_id] = Story(customer_id)
            if len(self._recent) > self._capacity:
                self._recent.popitem(last=False)
        return story

    def find(self, customer_id: str) -> Story | None:
        """Return a customer's story if it is kept, and keep it longer for being asked for."""
        for shelf in (self._contacted, self._recent):
            if customer_id in shelf:
                shelf.move_to_end(customer_id)
                return shelf[customer_id]
        return None

    def contacted(self, customer_id: str, at_ms: int) -> Story:
        """Return the story of a customer who is being contacted; it now outlives the others."""
        story = self.open(customer_id)
        story.contacted_at_ms = at_ms
        if self._recent.pop(customer_id, None) is not None:
            self._contacted[customer_id] = story
            if len(self._contacted) > self._contacted_capacity:
                self._contacted.popitem(last=False)
        return story

    def remove(self, customer_id: str) -> None:
        """Forget an erased customer."""
        self._recent.pop(customer_id, None)
        self._contacted.pop(customer_id, None)

    def best(self, count: int) -> list[Story]:
        """Return the stories that are most worth telling, the best first."""
        pool = list(self._contacted.values()) or list(self._recent.values())
        return sorted(pool, key=Story.worth, reverse=True)[:count]
