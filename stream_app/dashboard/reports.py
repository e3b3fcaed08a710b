"""What the page shows of the trainer's reports: whether contacts kept customers, and groups were treated alike."""

from collections.abc import Mapping
from typing import Any

import orjson

WHOLE_SHOP = "all"
LIFT, FAIRNESS = "report/lift", "report/fairness"

Document = Mapping[str, Any]


class Reports:
    """The newest report of each kind, in the few figures that the page has room for."""

    def __init__(self) -> None:
        self.lift: dict[str, object] | None = None
        self.fairness: dict[str, object] | None = None

    def take(self, key: str, value: bytes | None) -> None:
        """Take in a report by the key of its record; those of other kinds are passed over.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is no such report; the one before stays.
        """
        if key == LIFT:
            self.lift = None if value is None else _lift(orjson.loads(value))
        elif key == FAIRNESS:
            self.fairness = None if value is None else _fairness(orjson.loads(value))


def _lift(report: Document) -> dict[str, object]:
    whole = next((each for each in report["slices"] if each["name"] == WHOLE_SHOP), None)
    told: dict[str, object] = {
        "through": report["through"],
        "lopsided": [check["name"].replace("_", " ") for check in report["ratios"] if check["alarm"]],
    }
    if whole is not None:
        difference, compared = whole["conversion"], whole["treated"] + whole["held"]
        told |= {
            "estimate": float(difference["estimate"]),
            "low": difference["low"],
            "high": difference["high"],
            "treated": whole["treated"],
            "held": whole["held"],
            "held_share": whole["held"] / compared if compared else None,
            "stayed_treated": whole["conversion_treated"],
            "stayed_held": whole["conversion_held"],
        }
    return told


def _fairness(report: Document) -> dict[str, object]:
    known = ("measure", "lower", "higher", "estimate", "low", "high", "bound", "alarm")
    return {
        "through": report["through"],
        "attributes": [
            {
                "attribute": each["attribute"],
                "groups": len(each["groups"]),
                "comparisons": [{name: one[name] for name in known} for one in each["comparisons"]],
            }
            for each in report["attributes"]
        ],
    }
