"""A model's versions in memory: which are loaded, which take traffic, and when one may go. Knows no transport."""

import asyncio
import contextlib
import dataclasses
import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING

from arcface_common.errors import DataError
from serving.server.errors import Code, ServingError
from serving.server.folder import Fingerprint, fingerprint, versions
from serving.server.signature import lost
from serving.server.words import tell

if TYPE_CHECKING:
    from serving.server.servable import Servable

_ENDED_KEPT = 8  # versions that were unloaded, of which the state is still told
_FIRST_RETRY = 60.0  # seconds until what can't be loaded is tried again though its files are as they were
_LAST_RETRY = 3600.0  # seconds; each wait is twice the one before, up to this
_LISTED = 8  # versions that an error names


class State(enum.IntEnum):
    """TF Serving's ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Version:
    """A version and what became of it.

    Attributes:
      number: of its folder.
      state: where it is in its life.
      error: why it could not be loaded.
      servable: what answers, while it is available or unloading.
      found: what its folder held when it was loaded.
      uses: requests that it is answering.
      retry: seconds from its failure until it is tried again.
      failed: when that was, by the monotonic clock.
    """

    number: int
    state: State = State.START
    error: ServingError | None = None
    servable: "Servable | None" = None
    found: Fingerprint = dataclasses.field(default_factory=dict)
    uses: int = 0
    retry: float = 0.0
    failed: float = 0.0

    def rests(self, found: Fingerprint) -> bool:
        """Whether it isn't tried again yet: it failed, its files are as they were, and the reason may still hold."""
        return self.error is not None and self.found == found and monotonic() < self.failed + self.retry


@dataclasses.dataclass(frozen=True)
class Policy:
    """Which versions of a folder are served.

    Attributes:
      latest: so many of the highest that can be loaded.
      specific: these alone, in place of the latest; none: the latest.
      labels: label -> version, by which clients may ask.
    """

    latest: int = 1
    specific: frozenset[int] = frozenset()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def check(self, path: str, there: Collection[int]) -> None:
        """Checks that what is asked for is there, before anything is loaded.

        Of several versions some may come later, and are waited for; that is said.

        Args:
          path: folder of versions.
          there: the versions in it.

        Raises:
          DataError: none of the versions is there, or a label is of a version that is not served.
        """
        missing = sorted(self.specific - set(there))
        received = f"Received: {_listed(there)}"
        if missing and len(missing) == len(self.specific):
            raise DataError(f"{path}: expected version {_listed(missing)}, as --version says. {received}")
        if missing:
            tell(f"warning: {path}: version {_listed(missing)} is not there, and is served when it comes")
        served = self.specific or sorted(there)[-self.latest :]
        for label, number in self.labels.items():
            if number not in served:
                received = f"{_listed(served)} is served"
                raise DataError(f"--label {label}={number}: expected a version that is served. Received: {received}")


def _listed(numbers: Iterable[int]) -> str:
    """Version numbers for an error, the highest first; of many, the highest few."""
    highest = sorted(numbers, reverse=True)
    more = f" and {len(highest) - _LISTED} lower ones" if len(highest) > _LISTED else ""
    return ", ".join(map(str, highest[:_LISTED])) + more


class Manager:
    """Follows a folder of versions.

    A new version is loaded aside, by a thread of its own, and takes traffic when it has been warmed up. What can't be
    loaded is tried again when its folder changes, and after a while: the reason may have passed, such as a lack of
    memory. Meanwhile the next lower version is served. A version goes when as many others as are wanted have taken
    over, never before, and gives its memory back after its last request.
    All methods are called in one event loop.
    """

    def __init__(
        self,
        name: str,
        path: str,
        load: "Callable[[str], Servable]",
        policy: Policy | None = None,
        loaded: Callable[[bool], None] = lambda worked: None,
    ) -> None:
        """Keeps them; nothing is loaded yet.

        Args:
          name: that clients ask by.
          path: folder of versions, or a SavedModel.
          load: loads and warms up a version's folder; is called in a thread, and raises ServingError.
          policy: which versions; the latest one by default.
          loaded: called after each try to load a version, with whether it takes traffic.
        """
        self.name = name
        self.path = path
        self.policy = policy or Policy()
        self.versions: dict[int, Version] = {}
        self._load, self._loaded = load, loaded
        self._thread = ThreadPoolExecutor(1, "loader")
        self._closing: set[asyncio.Future[None]] = set()

    def available(self) -> list[Version]:
        """Those that take traffic, the highest first."""
        return sorted((v for v in self.versions.values() if v.state == State.AVAILABLE), key=lambda v: -v.number)

    async def follow(self, seconds: float) -> None:
        """Looks at the folder now and then, without end.

        Args:
          seconds: between two looks.
        """
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.look()
            except Exception as error:  # the folder itself is gone, or its file system doesn't answer
                tell(f"warning: {self.path}: {error}; served on as it is")

    async def look(self) -> None:
        """Loads what is new, and lets go of what has been replaced.

        Raises:
          OSError: the folder can't be read.
        """
        there = await asyncio.to_thread(versions, self.path)
        wanted = len(self.policy.specific) or self.policy.latest
        kept = list[Version]()
        for number in sorted(self.policy.specific & set(there) if self.policy.specific else there, reverse=True):
            if len(kept) < wanted and (version := await self._brought_up(number, there[number])) is not None:
                kept.append(version)
        surplus = [version for version in self.available() if version not in kept]
        while surplus and len(surplus) + len(kept) > wanted:
            self._retire(surplus.pop())
        self._forget()

    def number(self, number: int | None, label: str | None) -> int | None:
        """The version's number that a request means; None for the highest.

        Raises:
          ServingError: no such label.
        """
        if label is None:
            return number
        if label not in self.policy.labels:
            raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return self.policy.labels[label]

    @contextlib.contextmanager
    def use(self, number: int | None = None, label: str | None = None) -> Iterator[Version]:
        """A version that answers; it stays until the body ends.

        Args:
          number: None for the highest.
          label: in place of a number.

        Raises:
          ServingError: it isn't available.
        """
        number = self.number(number, label)
        found = [version for version in self.available() if number in (None, version.number)]
        if not found:
            raise not_found(self.name, number)
        version = found[0]
        version.uses += 1
        try:
            yield version
        finally:
            version.uses -= 1
            self._close_unused(version)

    async def close(self) -> bool:
        """Lets go of all, when their requests have been answered.

        Returns:
          Whether that is done. A version that is being loaded would be waited for, 20 s and more: the end of the
          process lets go of it, and of the others.
        """
        if any(version.state == State.LOADING for version in self.versions.values()):
            return False
        for version in self.available():
            self._retire(version)
        await asyncio.gather(*self._closing)
        self._thread.shutdown(wait=False)
        return True

    async def _brought_up(self, number: int, path: str) -> Version | None:
        """The version, available; None if it can't be."""
        known = self.versions.get(number)
        if known is not None and known.state == State.AVAILABLE:
            return known
        found = await asyncio.to_thread(fingerprint, path)
        if known is not None and (known.state == State.UNLOADING or known.rests(found)):
            return None
        before = next(iter(self.available()), None)
        version = self.versions[number] = Version(number, State.LOADING, found=found)
        tell(f"version {number}: loading and warming up")
        try:
            servable = await asyncio.get_running_loop().run_in_executor(self._thread, self._load, path)
            if await asyncio.to_thread(fingerprint, path) != found:
                await asyncio.get_running_loop().run_in_executor(self._thread, servable.close)
                raise ServingError(Code.UNAVAILABLE, f"{path}: its files changed while it was loaded")
        except Exception as error:  # of whatever kind: what is served goes on
            reason = error if isinstance(error, ServingError) else ServingError(Code.INTERNAL, repr(error))
            version.state, version.error, version.failed = State.END, reason, monotonic()
            last = known.retry if known is not None and known.found == found else 0.0
            version.retry = min(max(2 * last, _FIRST_RETRY), _LAST_RETRY)
            self._loaded(False)
            tell(f"warning: version {number} can't be served: {version.error}")
            return None
        version.servable, version.state = servable, State.AVAILABLE
        self._loaded(True)
        tell(f"version {number} takes traffic")
        if before is not None and before.servable is not None and not self.policy.specific:
            if missing := lost(before.servable.signatures, servable.signatures):
                tell(f"warning: version {number} doesn't take what version {before.number} took: {'; '.join(missing)}")
        return version

    def _retire(self, version: Version) -> None:
        version.state = State.UNLOADING
        self._close_unused(version)

    def _close_unused(self, version: Version) -> None:
        if version.state == State.UNLOADING and not version.uses and version.servable is not None:
            servable, version.servable = version.servable, None
            closing = asyncio.get_running_loop().run_in_executor(self._thread, servable.close)
            self._closing.add(closing)
            closing.add_done_callback(lambda _: self._closed(version, closing))

    def _closed(self, version: Version, closing: "asyncio.Future[None]") -> None:
        self._closing.discard(closing)
        version.state = State.END
        tell(f"version {version.number} is unloaded")

    def _forget(self) -> None:
        """Drops the states of all but the last few versions that ended."""
        ended = sorted(version.number for version in self.versions.values() if version.state == State.END)
        for number in ended[:-_ENDED_KEPT]:
            del self.versions[number]


def not_found(model: str, number: int | None) -> ServingError:
    """What TF Serving says of a model or version that isn't available."""
    asked = f"Latest({model})" if number is None else f"Specific({model}, {number})"
    return ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
