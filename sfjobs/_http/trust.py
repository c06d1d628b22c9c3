"""
Which certificate authorities a connection trusts, and what a failed TLS handshake means. ``adapter`` connects.

The setting ``ca_file`` comes first, then the variables that other programs read: SSL_CERT_FILE and SSL_CERT_DIR (OpenSSL, httpx),
REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE (requests, and so xcc), then the system's store, and certifi's where that is empty.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path

from ..errors import ConfigurationError

_CERTIFICATE_IN_FOLDER = re.compile(r"[0-9a-f]{8}\.\d+", re.ASCII).fullmatch
"""The names by which OpenSSL finds the certificates of a folder."""

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
_NO_COMMON_TLS = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "DH_KEY_TOO_SMALL",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_UNRECOGNIZED_NAME",
    }
)
_WRONG_HOST = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_WRONG_TIME = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """
    Return a context that trusts the authorities in ``ca_file``, else those of the environment or the system. Raises OSError or
    ValueError for a ``ca_file`` that cannot be used, and ConfigurationError for a variable of the environment.
    """
    if ca_file is not None:
        context = ssl.create_default_context(cafile=ca_file)
    elif variables := _variables():
        context = _of_the_environment(variables)
    else:
        context = ssl.create_default_context()
        if not _has_authorities(context):
            _add_certifi(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _variables() -> list[str]:
    """Return the variables that say which authorities to trust, of the first kind that is set."""
    for kind in (("SSL_CERT_FILE", "SSL_CERT_DIR"), ("REQUESTS_CA_BUNDLE",), ("CURL_CA_BUNDLE",)):
        if found := [name for name in kind if os.environ.get(name)]:
            return found
    return []


def _of_the_environment(variables: Iterable[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if keys := os.environ.get("SSLKEYLOGFILE"):
        context.keylog_filename = keys
    for name in variables:
        value = os.environ[name]
        paths = value.split(os.pathsep) if name == "SSL_CERT_DIR" else [value]
        try:
            for path in filter(None, paths):
                is_folder = Path(path).is_dir()
                if not is_folder and not Path(path).exists():
                    raise FileNotFoundError(2, "there is no such file or folder")  # OpenSSL would ignore a folder
                context.load_verify_locations(**{"capath" if is_folder else "cafile": path})
        except (OSError, ValueError) as error:
            missing = isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
            reason = str(getattr(error, "strerror", "")) if missing else "it has no certificates in PEM form"
        else:
            continue
        raise ConfigurationError(
            f"The certificate authorities of {name}, a variable of the environment, cannot be used: {reason}\n"
            "Correct or unset it, or give ca_file (SFJOBS_CA_FILE), which comes before it."
        )
    return context


def _has_authorities(context: ssl.SSLContext) -> bool:
    if context.cert_store_stats()["x509_ca"]:
        return True
    folder = ssl.get_default_verify_paths().capath  # read when it is needed only, so that it does not count above
    try:
        return any(map(_CERTIFICATE_IN_FOLDER, os.listdir(folder or os.devnull)))  # noqa: PTH208 - names only
    except OSError:
        return False


def _add_certifi(context: ssl.SSLContext) -> None:
    """Trust the authorities of the package certifi, which httpx requires."""
    try:
        import certifi
    except ModuleNotFoundError:
        return
    context.load_verify_locations(cafile=certifi.where())


def lasting_failure(causes: Iterable[BaseException]) -> str | None:
    """Return what to change if a TLS handshake failed for a reason that does not pass by itself, else None."""
    for error in causes:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _untrusted(error)
        if isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in _NO_TLS:
            return "The server does not speak TLS at this address: check https and the port in url (SFJOBS_URL)."
        if isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in _NO_COMMON_TLS:
            return "Server and client have no version, cipher or name of TLS in common: ask the platform's owner."
    return None


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    trust = "give a PEM file with the authority that you trust as ca_file (SFJOBS_CA_FILE)"
    code = getattr(error, "verify_code", None)  # only those of OpenSSL itself have one
    if code in _WRONG_HOST:
        return f"Write the host name of the platform's certificate in url (SFJOBS_URL), or {trust} and has this host."
    if code in _WRONG_TIME:
        return f"Check this computer's clock; if it is right, ask the platform's owner to renew the certificate, or {trust}."
    return f"The authority of the platform's certificate is not trusted: {trust}."
