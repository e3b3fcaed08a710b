"""Fairness findings: there where groups are treated differently, silent on chance and on small groups."""

import numpy as np
import pytest

from stream_app.decisions.fairness import UNDECLARED, FairnessBook, FairnessReport


def report(
    shares: dict[str, float],
    offers: dict[str, float] | None = None,
    bias: dict[str, float] | None = None,
    customers: int = 500,
    seed: int = 1,
) -> FairnessReport:
    rng = np.random.default_rng(seed)
    book = FairnessBook("gender")
    for group, share in shares.items():
        for number in range(customers):
            customer = f"{group}{number}"
            book.add_customer(customer, group)
            if rng.random() < share:
                book.add_intervention(customer, (offers or {}).get(group, 5.0) * float(rng.uniform(0.5, 1.5)))
            churned = bool(rng.random() < 0.4)
            book.add_label(customer, 0.4 + (bias or {}).get(group, 0.0), churned)
    return book.report()


def test_equal_treatment_gives_no_finding() -> None:
    found = report({"a": 0.5, "b": 0.5, "c": 0.5})
    assert found.findings == ()
    assert found.contact_ratio == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"shares": {"a": 0.5, "b": 0.3}}, "b is contacted less"),
        ({"shares": {"a": 0.5, "b": 0.5}, "offers": {"a": 10.0}}, "b is offered less"),
        ({"shares": {"a": 0.5, "b": 0.5}, "bias": {"a": 0.15}}, "a: scores are"),
    ],
)
def test_each_kind_of_difference_is_found_alone(case: dict[str, dict[str, float]], words: str) -> None:
    (finding,) = report(case["shares"], case.get("offers"), case.get("bias")).findings
    assert words in finding


def test_chance_raises_few_alarms() -> None:
    alarms = sum(bool(report({"a": 0.1, "b": 0.1}, customers=150, seed=seed).findings) for seed in range(200))
    assert alarms <= 8


def test_small_and_undeclared_groups_are_shown_and_not_judged() -> None:
    book = FairnessBook("gender")
    for number in range(29):
        book.add_customer(f"small{number}", "small")
    for number in range(100):
        book.add_customer(f"large{number}", "large")
        book.add_intervention(f"large{number}", 1.0)
        book.add_customer(f"unknown{number}", "")
    found = book.report()
    assert [group.group for group in found.groups] == ["large", "small", UNDECLARED]
    assert (found.contact_ratio, found.findings) == (None, ())
    assert next(group for group in found.groups if group.group == "small").offer_value is None


def test_many_interventions_of_one_customer_are_no_evidence() -> None:
    book = FairnessBook("gender")
    for group in ("a", "b"):
        for number in range(40):
            book.add_customer(f"{group}{number}", group)
            book.add_intervention(f"{group}{number}", 1.0)
    for _ in range(1000):
        book.add_intervention("a0", 50.0)
    assert not any("offered" in finding for finding in book.report().findings)
