"""What must not become an option or a path: options are kept in ML Metadata and the compiled YAML, and are logged."""

import re
from urllib.parse import urlsplit

from arcface_common.errors import DataError

# Where the library that uses the secret finds it in place of an option.
_VARIABLES = {
    "s3_access_key_id": "AWS_ACCESS_KEY_ID",
    "s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "s3_session_token": "AWS_SESSION_TOKEN",
    "azure_connection_string": "AZURE_STORAGE_CONNECTION_STRING",
}
# Words of names; "key" alone would be the coders of Beam's "key coders", so it counts where it ends a name or has "id".
_WORDS = re.compile(
    r"(^|_)(secrets?|tokens?|passwords?|passwd|pwd|passphrase|credentials?|connection_string|connstr|sas|"
    r"(access|account|api|auth|private|shared|signing|encryption|ssh|storage)_?keys?(_id)?|keys?|bearer|jwt|cookie)(_|$)"
)
# Names that hold such a word and no secret.
_HARMLESS = ("dataflow_kms_key", "enable_hot_key_logging", "allow_non_deterministic_key_coders")
_VALUES = re.compile(
    r"-----BEGIN|\b(AKIA|ASIA)[0-9A-Z]{16}\b|\beyJ[\w-]{10,}\.[\w-]+\.|\bgh[pousr]_\w{20,}|\bAIza[\w-]{30,}|\bya29\.|"
    r"\bxox[abpr]-|\bsk-[\w-]{20,}|\b(AccountKey|SharedAccessKey|SharedAccessSignature|Password|Pwd)\s*=|[?&]sig=|"
    r"X-Amz-Signature=|\"(private_key|client_secret)\"",
    re.IGNORECASE,
)
_ACCOUNT = re.compile(r"[^/@:\[]+:[^/@]+@(?!sha256:)[\w.-]+(:\d+)?(/|$)")  # user:password@host, no image@sha256:digest


def refuse_secret_option(flag: str, name: str, value: str) -> None:
    """Refuses an option that holds a secret, by its name or its value.

    Args:
      flag: what a person gave it by, e.g. "--beam-arg".
      name: of the option.
      value: of the option.

    Raises:
      DataError: without the value.
    """
    name = name.strip("-")
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
    if plain in _HARMLESS:
        return
    if _WORDS.search(plain) or _looks_secret(value):
        variable = _VARIABLES.get(plain)
        place = f"the variable {variable}" if variable else "a secret in the environment of every worker"
        raise DataError(f"{flag}: expected {place}, not an option: those are stored and logged. Received: --{name}")


def refuse_secret_path(flag: str, path: str) -> None:
    """Refuses a path or address that holds a password or a signature.

    Raises:
      DataError: without it.
    """
    if _looks_secret(path):
        raise DataError(
            f"{flag}: expected a path without a password, key or signature: it is stored and logged. "
            f"Received: one with it, {path.partition('://')[0][:10]}://…"
        )


def _looks_secret(value: str) -> bool:
    """Whether a value is like a key, or an address with a password."""
    if _VALUES.search(value):
        return True
    for word in re.split(r"[\s,;\"'=]+", value):
        if _ACCOUNT.match(word):
            return True
        if "://" in word and "@" in word:
            try:
                if urlsplit(word).password:
                    return True
            except ValueError:  # no address after all
                continue
    return False
