"""Objects in S3, or in a store that speaks as S3 does: small texts, written once; files to fetch.

boto3 is an extra, and is imported when a store is first spoken to.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from models.credentials import without_credentials
from models.errors import ConfigError, MissingExtraError, PitchpipeError, UnreachableError

KEYS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) say who one is, AWS_ENDPOINT_URL "
    "which store is asked"
)
_REFUSALS = {
    "NoSuchBucket": "there is no such bucket; make it, or name another",
    "AccessDenied": f"the store refuses; {KEYS}",
    "InvalidAccessKeyId": f"the store does not know that key; {KEYS}",
    "SignatureDoesNotMatch": f"the store takes the secret for wrong; {KEYS}",
    "NoCredentialsError": f"no key was given; {KEYS}",
    "PartialCredentialsError": f"half a key was given; {KEYS}",
    "ProfileNotFound": f"there is no such profile; {KEYS}",
    "NoRegionError": "no region was given; set AWS_DEFAULT_REGION",
}
"""Ways out, by S3's error codes and the names of botocore's errors."""
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
_CHANGED = {"PreconditionFailed", "NoSuchKey", "412", "404"}
_PIECE = 2**20


def raised_by_s3() -> tuple[type[Exception], ...]:
    """Return the errors of S3's client; none where nobody has imported it."""
    core, client = sys.modules.get("botocore.exceptions"), sys.modules.get("boto3.exceptions")
    found = (core.BotoCoreError, core.ClientError) if core else ()
    return (*found, client.Boto3Error) if client else found


def store_refusal(error: BaseException) -> str | None:
    """Name the way out of an error of S3; None where it may pass, or is of something else.

    What uploads raises an error of its own, with S3's code in its text only.
    """
    if not isinstance(error, raised_by_s3()):
        return None
    told = f"{type(error).__name__} {error}"
    return next((way_out for code, way_out in _REFUSALS.items() if code in told), None)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a listing."""

    name: str
    """Below the place."""
    size: int
    """In bytes."""
    etag: str
    """Changes with the content."""
    modified: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies at a place, and when, by the clock of the store."""

    objects: tuple[StoredObject, ...]
    at: datetime


@dataclass(frozen=True)
class Place:
    """A folder of a bucket."""

    bucket: str
    prefix: str
    """Without slashes at its ends; empty: the whole bucket."""

    @classmethod
    def parse(cls, address: str, *, variable: str) -> "Place":
        """Read `s3://BUCKET/PREFIX`. Raises ConfigError that names the variable."""
        found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([\w./=+-]*))?", address)
        if not found:
            raise ConfigError(
                f"{variable} {without_credentials(address)!r}: is no place in S3; set it to "
                "s3://BUCKET/FOLDER, or unset it"
            )
        return cls(found[1], (found[2] or "").strip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def read(self, name: str) -> str | None:
        """Return the text of an object; None where there is none."""
        with self._errors():
            try:
                found = self._client.get_object(Bucket=self.bucket, Key=self._key(name))
            except self._client.exceptions.NoSuchKey:
                return None
            return bytes(found["Body"].read()).decode()

    def write_new(self, name: str, text: str) -> bool:
        """Write an object that is not there yet, at once or not at all; False where it is there.

        Of several that write the same name, one is told True: `If-None-Match: *`.
        """
        with self._errors():
            try:
                self._client.put_object(
                    Bucket=self.bucket, Key=self._key(name), Body=text.encode(), IfNoneMatch="*"
                )
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _TAKEN:
                    return False
                raise
        return True

    def listing(self, *, most: int) -> Listing:
        """List the objects of this folder and below. Raises ConfigError where there are more."""
        found, at, prefix = list[StoredObject](), None, self._key("")
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                at = at or parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
                found += [_stored(entry, prefix) for entry in page.get("Contents", ())]
                if len(found) > most:
                    raise ConfigError(
                        f"{self}: holds more than {most:,} objects, which are not listed; move "
                        "away what was taken, or name a folder of it"
                    )
        assert at is not None
        return Listing(tuple(found), at)

    def fetch(self, stored: StoredObject, target: Path) -> bool:
        """Write an object to a new file; False where it is no longer the one that was listed."""
        with self._errors():
            try:
                found = self._client.get_object(
                    Bucket=self.bucket, Key=self._key(stored.name), IfMatch=stored.etag
                )
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _CHANGED:
                    return False
                raise
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in found["Body"].iter_chunks(_PIECE):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())  # it is written down as fetched, and fetched once
        return target.stat().st_size == stored.size

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    @cached_property
    def _client(self) -> Any:  # boto3 makes its classes when it runs
        try:
            import boto3  # noqa: PLC0415 - an extra; 0.3 s
            from botocore.config import Config  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"{self} needs {error.name}, which is not installed; `make install EXTRAS=team` in "
                "the checkout of pitchpipe adds it"
            ) from None
        patience = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 3})
        with self._errors():
            return boto3.client("s3", config=patience)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise ConfigError where the store keeps us out, UnreachableError where it is away."""
        try:
            yield
        except PitchpipeError:
            raise
        except Exception as error:
            if not isinstance(error, raised_by_s3()):
                raise
            refused = store_refusal(error)
            if refused is not None:
                raise ConfigError(f"{self}: {refused}") from error
            said = " ".join(str(error).split())
            way_out = "see that the store runs and that AWS_ENDPOINT_URL names it"
            raise UnreachableError(f"{self}: {said}; {way_out}") from error


def _stored(entry: dict[str, Any], prefix: str) -> StoredObject:
    return StoredObject(
        name=entry["Key"].removeprefix(prefix),
        size=entry["Size"],
        etag=entry["ETag"],
        modified=entry["LastModified"],
    )
