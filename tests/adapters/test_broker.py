"""What brokers are started with, without starting one."""

from base64 import urlsafe_b64decode

from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.adapters.broker import new_cluster_id


@given(st.binary(min_size=16, max_size=16))
@example(b"\xf8" + bytes(15))
@example(b"\xfb\xef\xbe" + bytes(13))
def test_a_cluster_id_is_of_16_bytes_and_no_option(random_bytes: bytes) -> None:
    cluster_id = new_cluster_id(random_bytes)

    assert not cluster_id.startswith("-")
    assert len(urlsafe_b64decode(cluster_id + "==")) == 16
