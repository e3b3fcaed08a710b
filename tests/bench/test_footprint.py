"""What customers take must not grow unnoticed: bounds a little above what was measured."""

import os

from stream_app.bench.footprint import measure

CUSTOMERS = int(os.environ.get("STREAM_APP_TEST_FOOTPRINT_CUSTOMERS", "4000"))
"""A million is the long form: it takes a minute."""
MOST_MEAN_BYTES = 1_120
MOST_HEAVY_BYTES = 1_700
MOST_BYTES_A_CUSTOMER = 1_350


def test_customers_stay_small() -> None:
    found = measure(CUSTOMERS)
    assert found.customers == CUSTOMERS
    assert found.median_state_bytes > 300, "these customers have no past"
    assert found.mean_state_bytes <= MOST_MEAN_BYTES
    assert found.heaviest_hundredth_state_bytes <= MOST_HEAVY_BYTES
    if CUSTOMERS >= 200_000:  # Of fewer, what the interpreter keeps by the way is the larger part.
        assert found.bytes_a_customer <= MOST_BYTES_A_CUSTOMER
        assert found.total_megabytes <= 200 + CUSTOMERS * MOST_BYTES_A_CUSTOMER / 1e6
