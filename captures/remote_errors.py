"""What goes wrong with remote files, in one line each. Pure.

The libraries' own words are left out: they may hold URLs, and a URL may hold credentials.
"""

SILENCE_S = 30  # how long to wait for the next byte
TRIES = 3

CREDENTIALS = {
    "s3": "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and AWS_ENDPOINT_URL",
    "gs": "check GOOGLE_APPLICATION_CREDENTIALS",
    "az": "check AZURE_STORAGE_ACCOUNT_NAME and its key, or AZURE_STORAGE_CONNECTION_STRING",
}
# What the libraries below raise, by name: most of them are not to be imported where their package is missing.
_REFUSED = {"PermissionError", "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
_REFUSED |= {"TokenRetrievalError", "ProfileNotFound", "ClientAuthenticationError", "DefaultCredentialsError"}
_UNREACHABLE = {"EndpointConnectionError", "ClientConnectorError", "ConnectionRefusedError", "ProxyConnectionError"}
_UNREACHABLE |= {"ConnectTimeoutError", "ConnectionTimeoutError", "ServiceRequestError", "ConnectionClosedError"}
_SILENT = {"TimeoutError", "FSTimeoutError", "ReadTimeoutError", "SocketTimeoutError", "ServerTimeoutError"}
_BROKEN = {"ClientPayloadError", "ServerDisconnectedError", "ClientOSError", "IncompleteReadError", "ConnectionError"}
_BROKEN |= {"ResponseStreamingError", "HTTPClientError", "HttpError"}
_UNTRUSTED = {"SSLError", "ClientConnectorCertificateError", "SSLCertVerificationError", "ClientSSLError"}
_LASTING = _REFUSED | _UNREACHABLE | _UNTRUSTED  # trying again would not help


class ChangedError(Exception):
    """The object is not the one that was looked up. Never leaves ``captures``."""


class StatusError(Exception):
    """A web server answered with a status that has no other meaning here. Never leaves ``captures``."""


def reason(error: Exception, scheme: str, endpoint: str = "") -> str:
    """Why it did not work, and what to do. ``endpoint``: what the environment says about where to go."""
    match error:
        case ChangedError():
            return "was changed while it was read; captures are never changed in place: upload it under another name"
        case StatusError():
            return str(error)
        case FileNotFoundError():
            return "no such object, or no such bucket"
    names, where = _names(error), f": {endpoint}" if endpoint else "; check the network and the name"
    if names & _REFUSED:
        return f"access refused; {CREDENTIALS.get(scheme, 'check its credentials')}"
    if names & _UNTRUSTED:
        return "its server's certificate is not trusted, or it does not speak TLS"
    if names & _UNREACHABLE:
        return f"its server cannot be reached{where}"
    if names & _SILENT:
        return f"its server does not answer (waited {SILENCE_S} s, {TRIES} times){where}"
    if names & _BROKEN:
        return f"the connection broke {TRIES} times ({type(error).__name__})"
    answer = getattr(error.__cause__, "response", None)
    code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
    return f"its server refused the request ({code or type(error).__name__}); is the name right?"


def may_pass(error: Exception) -> bool:
    """Whether trying again may help."""
    names = _names(error)
    return bool(names & (_BROKEN | _SILENT)) and not names & _LASTING


def _names(error: BaseException) -> set[str]:
    """The names of the classes of an error and of what caused it."""
    names = {each.__name__ for each in type(error).__mro__} - {"OSError", "Exception", "BaseException", "object"}
    return names | (_names(error.__cause__) if error.__cause__ is not None else set())
