import pytest

from captures.remote_errors import ChangedError, StatusError, may_pass, reason


class EndpointConnectionError(Exception):
    """As botocore's."""


class NoCredentialsError(Exception):
    """As botocore's."""


class ClientConnectorError(OSError):
    """As aiohttp's."""


class ClientConnectorCertificateError(ClientConnectorError):
    """As aiohttp's: a certificate is no matter of reaching a server."""


class ClientPayloadError(Exception):
    """As aiohttp's."""


def refused(code: str) -> OSError:
    """As s3fs gives it: an OSError, caused by what the server said."""
    error, said = OSError(22, "https://host/?sig=s3cret"), Exception()
    said.response = {"Error": {"Code": code}}  # type: ignore[attr-defined] # botocore sets it the same way
    error.__cause__ = said
    return error


@pytest.mark.parametrize(
    ("error", "expected", "passes"),
    [
        (FileNotFoundError("x?sig=s3cret"), "no such object", False),
        (PermissionError("s3cret"), "access refused; check AWS_ACCESS_KEY_ID", False),
        (NoCredentialsError("s3cret"), "access refused; check AWS_ACCESS_KEY_ID", False),
        (EndpointConnectionError("s3cret"), "cannot be reached: here", False),
        (ConnectionRefusedError("s3cret"), "cannot be reached: here", False),
        (ClientConnectorCertificateError("s3cret"), "certificate is not trusted", False),
        (TimeoutError("s3cret"), "does not answer (waited 30 s, 3 times): here", True),
        (ClientPayloadError("s3cret"), "the connection broke 3 times (ClientPayloadError)", True),
        (ConnectionResetError("s3cret"), "the connection broke 3 times (ConnectionResetError)", True),
        (refused("SlowDown"), "refused the request (SlowDown)", False),
        (RuntimeError("s3cret"), "refused the request (RuntimeError)", False),
        (ChangedError("s3cret"), "was changed while it was read", False),
        (StatusError("its server answered 503"), "its server answered 503", False),
    ],
)
def test_every_error_is_one_line_in_our_own_words(error: Exception, expected: str, passes: bool) -> None:
    line = reason(error, "s3", "here")

    assert expected in line
    assert "s3cret" not in line
    assert "\n" not in line
    assert may_pass(error) is passes


def test_without_an_endpoint_the_network_is_to_blame() -> None:
    assert reason(TimeoutError(), "https").endswith("; check the network and the name")


def test_each_store_has_its_own_credentials() -> None:
    assert "GOOGLE_APPLICATION_CREDENTIALS" in reason(PermissionError(), "gs")
    assert "AZURE_STORAGE" in reason(PermissionError(), "az")
    assert reason(PermissionError(), "https") == "access refused; check its credentials"
