"""The logical names of all topics; what they are called on a broker is a setting each."""

from enum import StrEnum


class Topic(StrEnum):
    """A topic by its role. Values are the default names and the names of schemas and examples."""

    CLICKSTREAM = "clickstream"
    ORDERS = "orders"
    REVIEWS = "reviews"
    CUSTOMERS = "customers"
    FEEDBACK = "intervention-feedback"
    PRODUCTS = "products"
    CALENDAR = "calendar"
    INTERVENTIONS = "interventions"
    SCORES = "churn-scores"
    WARNINGS = "churn-warnings"
    SUPPRESSED = "suppressed-interventions"
    REROUTED = "rerouted"
    TICKS = "ticks"
    TRAINING = "training-examples"
    OUTCOMES = "decision-outcomes"
    POPULATION = "population-statistics"
    SNAPSHOTS = "model-snapshots"
    MODEL_EVENTS = "model-events"
    DEAD_LETTERS = "dead-letters"


CUSTOMER_TOPICS = (Topic.CUSTOMERS, Topic.ORDERS, Topic.REVIEWS, Topic.FEEDBACK, Topic.CLICKSTREAM)
"""The topics whose events change a customer, in the rank order that breaks ties of event time in a merge.

A profile comes before the order of the same instant, and an order before the click that led to it: consent must be
known before anything is decided. Never reorder: the rank is part of stored positions.
"""

RANK: dict[Topic, int] = {topic: rank for rank, topic in enumerate(CUSTOMER_TOPICS)}
