"""The one client factory: worker, trainer, dashboard and CLI reach the brokers with the same settings."""

import ssl
from typing import Any, NamedTuple

from stream_app.settings import Settings


class FaustAuthentication(NamedTuple):
    """What the composition root of a Faust app needs to build its credentials; this package does not import Faust.

    `kind` is "none", "ssl" (`faust.SSLCredentials(ssl_context)`) or "sasl" (`faust.SASLCredentials(...)`, whose
    `ssl_context` is None for SASL_PLAINTEXT).
    """

    kind: str
    username: str | None = None
    password: str | None = None
    mechanism: str | None = None
    ssl_context: ssl.SSLContext | None = None


def bootstrap_servers(settings: Settings) -> list[str]:
    """Return the bootstrap addresses as host:port strings."""
    return [address.strip() for address in settings.bootstrap.split(",") if address.strip()]


def faust_broker_urls(settings: Settings) -> list[str]:
    """Return the bootstrap addresses as Faust's `broker` setting wants them, for the aiokafka driver."""
    return [f"aiokafka://{address}" for address in bootstrap_servers(settings)]


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context, or None where the protocol has no TLS.

    Raises
    ------
    OSError
        When a certificate or key file cannot be read (ssl.SSLError when it cannot be used).
    """
    if settings.security_protocol not in {"SSL", "SASL_SSL"}:
        return None
    context = ssl.create_default_context(cafile=str(settings.tls_ca_file) if settings.tls_ca_file else None)
    if settings.tls_cert_file is not None:
        password = settings.tls_key_password.get_secret_value() or None
        key_file = str(settings.tls_key_file) if settings.tls_key_file else None
        context.load_cert_chain(str(settings.tls_cert_file), key_file, password)
    return context


def client_arguments(settings: Settings) -> dict[str, Any]:
    """Return the keyword arguments that aiokafka's and kafka-python's clients share: addresses and authentication."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": bootstrap_servers(settings),
        "security_protocol": settings.security_protocol,
    }
    context = ssl_context(settings)
    if context is not None:
        arguments["ssl_context"] = context
    if settings.security_protocol.startswith("SASL"):
        arguments |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password.get_secret_value(),
        }
    return arguments


def faust_authentication(settings: Settings) -> FaustAuthentication:
    """Return the credentials of a Faust app as data."""
    context = ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        return FaustAuthentication(
            kind="sasl",
            username=settings.sasl_username,
            password=settings.sasl_password.get_secret_value(),
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return FaustAuthentication(kind="ssl" if context else "none", ssl_context=context)
