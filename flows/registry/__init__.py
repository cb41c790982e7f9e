"""Versions: registered whole, listed, and loaded only after their files were checked."""

from flows.registry.listing import aliases, all_versions, find_version, versions
from flows.registry.loading import LoadedVersion, VersionFiles, load_version, open_version
from flows.registry.records import CHALLENGER, CHAMPION, PREVIOUS, Registration, VersionRecord
from flows.registry.registering import register

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "LoadedVersion",
    "Registration",
    "VersionFiles",
    "VersionRecord",
    "aliases",
    "all_versions",
    "find_version",
    "load_version",
    "open_version",
    "register",
    "versions",
]
