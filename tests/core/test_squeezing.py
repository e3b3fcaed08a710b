from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core import squeezing
from stream_app.core.squeezing import spread, squeeze


@given(body=st.binary(max_size=3_000))
def test_what_was_squeezed_comes_back(body: bytes) -> None:
    assert spread(squeeze(body)) == body


def test_the_common_histories_are_those_that_stored_states_count_on() -> None:
    common = squeezing._COMMON
    assert sha256(common).hexdigest()[:16] == "ce6a49ffa91d9d63"
    assert len(squeeze(common[:400])) < 20


def test_damaged_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="4 squeezed bytes are damaged"):
        spread(b"\xff\xff\xff\xff")
