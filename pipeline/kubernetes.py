"""Kubernetes' own rules for what stands in a pod's spec, so that a person hears of it before a cluster does."""

import posixpath
import re
from collections.abc import Collection, Mapping
from typing import Any

from arcface_common.errors import ConfigError

_UNITS = {
    "": 1,
    **{u: 1000**n for n, u in enumerate("kMGTP", 1)},
    **{f"{u}i": 1024**n for n, u in enumerate("KMGTP", 1)},
}
_QUANTITY = re.compile(rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(_UNITS)})")
_LEAST, _MOST = 2**20, 2**50  # bytes: a pod starts in no less, and no node has more
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")  # RFC 1123
# Of apimachinery's `validation`: IsQualifiedName and IsValidLabelValue, then IsConfigMapKey, which holds for secrets.
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_SECRET_KEY = re.compile(r"(?!\.\.|\.$)[A-Za-z0-9_.-]+")
# ValidateTolerations of the API server decides; KFP and TrainJob write the last one otherwise.
_TOLERATION = ("key", "operator", "value", "effect", "toleration_seconds")
_WORDS = {"operator": ("Exists", "Equal"), "effect": ("NoSchedule", "PreferNoSchedule", "NoExecute")}
_IMAGES_OWN = (
    *("/usr", "/opt/arcface", "/dev", "/proc", "/sys", "/etc", "/bin", "/sbin", "/lib", "/lib64"),
    # What Kubeflow Pipelines mounts in each step.
    *("/kfp-launcher", "/gcs", "/s3", "/minio", "/.local", "/.cache", "/.config"),
)
SHM, SCRATCH = "/dev/shm", "/work"  # noqa: S108 - places in pods


def in_bytes(quantity: str) -> float:
    """Of a quantity of memory, e.g. 1073741824 of "1Gi".

    Raises:
      ValueError: none that a pod could have.
    """
    found = _QUANTITY.fullmatch(quantity)
    if not found:
        raise ValueError("not as 500Mi or 16Gi" + ("; Kubernetes writes K as k" if quantity.endswith("K") else ""))
    size = float(found[1]) * _UNITS[found[2]]
    if size < _LEAST:
        raise ValueError("below 1Mi" + ("" if found[2] else "; without a unit these are bytes, as in 8Gi"))
    if size > _MOST:
        raise ValueError("above 1024Ti")
    return size


def is_object_name(text: str) -> bool:
    """Whether objects can be called so: a DNS-1123 subdomain."""
    return len(text) <= 253 and bool(_SUBDOMAIN.fullmatch(text))


def is_qualified_name(text: str) -> bool:
    """Whether a label, a taint or a resource can be called so: NAME or DOMAIN/NAME."""
    *domain, name = text.split("/", 1)
    return len(name) <= 63 and bool(_LABEL.fullmatch(name)) and all(map(is_object_name, domain))


def is_label_value(text: str) -> bool:
    """Whether a label can have it; it may be empty."""
    return text == "" or len(text) <= 63 and bool(_LABEL.fullmatch(text))


def is_secret_key(text: str) -> bool:
    """Whether a secret can have such a key, which is the name of a file where it is mounted."""
    return len(text) <= 253 and bool(_SECRET_KEY.fullmatch(text))


def check_labels(setting: str, labels: Mapping[str, str]) -> None:
    """Checks what a node is selected by.

    Raises:
      ConfigError: names the setting, and what no node's label can be.
    """
    for key, value in labels.items():
        for name, text, right in (("key", key, is_qualified_name(key)), ("value", value, is_label_value(value))):
            if not right:
                raise ConfigError(f"{setting}: expected a {name} as labels have them. Received: {text!r}")


def check_toleration(setting: str, toleration: Mapping[str, Any]) -> None:
    """Checks a toleration as the API server does.

    Raises:
      ConfigError: names the setting and what is wrong.
    """

    def refuse_unless(holds: bool, expected: str, received: Any) -> None:
        if not holds:
            raise ConfigError(f"{setting}: expected {expected}. Received: {received!r}")

    for field, value in toleration.items():
        refuse_unless(field in _TOLERATION, ", ".join(_TOLERATION), field)
        if field != "toleration_seconds":
            refuse_unless(isinstance(value, str), f"text, in quotes, for {field}", value)
    for field, known in _WORDS.items():
        if field in toleration:
            refuse_unless(toleration[field] in known, f"{field} to be one of {', '.join(known)}", toleration[field])
    key, value = toleration.get("key", ""), toleration.get("value", "")
    if toleration.get("operator") == "Exists":  # without a key it bears every taint
        refuse_unless(value == "", "no value with operator: Exists", value)
    else:
        refuse_unless(key != "", "key, or operator: Exists", dict(toleration))
    refuse_unless(key == "" or is_qualified_name(key), "a key as labels have them", key)
    refuse_unless(is_label_value(value), "a value as labels have them", value)
    if "toleration_seconds" in toleration:
        seconds = toleration["toleration_seconds"]
        whole = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 <= seconds < 2**31
        refuse_unless(whole, "toleration_seconds to be a whole number, 0 or more", seconds)
        evicts = toleration.get("effect") == "NoExecute"
        refuse_unless(evicts, "toleration_seconds with effect: NoExecute alone", dict(toleration))


def normal_path(path: str) -> str:
    """A path as its reader takes it, without "//", "." and ".."; one that isn't absolute stays what it is."""
    return posixpath.normpath(f"/{path.lstrip('/')}") if path.startswith("/") else path


def check_mounts(setting: str, mounts: Mapping[str, str], taken: Collection[str]) -> None:
    """Checks where volumes are to be.

    Args:
      setting: whose entries they are, for the error.
      mounts: name -> path, by `normal_path`.
      taken: places of other volumes.

    Raises:
      ConfigError: names the setting, the entry and what is wrong with its place.
    """
    seen = list(taken)
    for name, path in mounts.items():
        if not path.startswith("/") or path == "/" or path in seen:
            others = f", none of {', '.join(seen)}" if seen else ""
            raise ConfigError(f"{setting}.{name}: expected an absolute path below /{others}. Received: {path!r}")
        if ":" in path:  # which parts it from options, where containers are started
            raise ConfigError(f"{setting}.{name}: expected a path without :. Received: {path!r}")
        for own in _IMAGES_OWN:
            if path != SHM and f"{path}/".startswith(f"{own}/") or f"{own}/".startswith(f"{path}/"):
                raise ConfigError(
                    f"{setting}.{name}: expected a path beside {own}, which the image or Kubeflow has. "
                    f"Received: {path!r}"
                )
        seen.append(path)
