"""List the versions and aliases of a registered name."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from flows.records import ledger
from flows.records.champion_score import ChampionScore, champion_score
from flows.registry.records import CHAMPION, VersionRecord
from flows.tracking.store import Tracking, all_pages, mlflow_errors
from models.errors import ConfigError


def registered_model(tracking: Tracking) -> RegisteredModel | None:
    """MLflow's record of the tracking's name; None where nothing is registered under it."""
    with mlflow_errors():
        try:
            return tracking.client.get_registered_model(tracking.name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def aliases(tracking: Tracking) -> dict[str, int]:
    """Alias -> version; empty where nothing is registered under the name yet."""
    registered = registered_model(tracking)
    found = registered.aliases if registered else {}
    return {alias: int(version) for alias, version in found.items()}


def list_versions(tracking: Tracking) -> list[VersionRecord]:
    """Every version of the tracking's name, newest first."""
    pointing = aliases(tracking)
    with mlflow_errors():
        found = list(_search(tracking, f"name = '{tracking.name}'"))
    records = [_record(version, pointing) for version in found]
    return sorted(records, key=lambda record: record.version, reverse=True)


def all_versions(tracking: Tracking) -> list[VersionRecord]:
    """Every version of every name in the store, without aliases."""
    with mlflow_errors():
        return [_record(version, {}) for version in _search(tracking, "")]


def corrected_scores(records: Sequence[VersionRecord]) -> dict[int, ChampionScore]:
    """Version -> its accuracy without the luck of its selection, of the champion among records."""
    found = {
        record.version: champion_score(
            ledger.read().of(record.name), record.version, published=record.test.accuracy
        )
        for record in records
        if CHAMPION in record.aliases and record.test is not None
    }
    return {version: score for version, score in found.items() if score is not None}


def find_version(tracking: Tracking, wanted: str | int) -> VersionRecord:
    """Find a version by number or alias.

    Raises ConfigError, with the versions and aliases that exist, where there is none.
    """
    pointing = aliases(tracking)
    number = pointing.get(str(wanted), wanted)
    known = {record.version: record for record in list_versions(tracking)}
    if str(number).isdecimal() and int(number) in known:
        return known[int(number)]
    have = ", ".join(str(version) for version in sorted(known)) or "none yet: `pitchpipe run`"
    named = ", ".join(f"{alias} ({version})" for alias, version in pointing.items()) or "none"
    raise ConfigError(
        f"{tracking.name} has no version {wanted!r}; versions: {have}; aliases: {named}"
    )


def find_registration(tracking: Tracking, digest: str) -> int | None:
    """Return the version of a registration; None where it has none yet."""
    with mlflow_errors():
        condition = f"name = '{tracking.name}' AND tags.registration = '{digest}'"
        found = next(_search(tracking, condition), None)
    return int(found.version) if found is not None else None


def find_files(tracking: Tracking, digest: str) -> int | None:
    """Return the first version that was registered with files of such a digest, if there is one."""
    same = (
        record for record in list_versions(tracking) if record.tags.get("model.digest") == digest
    )
    return min((record.version for record in same), default=None)


def _search(tracking: Tracking, condition: str) -> Iterator[ModelVersion]:
    search = tracking.client.search_model_versions
    return all_pages(lambda token: search(condition, page_token=token))


def _record(version: ModelVersion, pointing: dict[str, int]) -> VersionRecord:
    number = int(version.version)
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    source = str(version.source)
    return VersionRecord(
        name=version.name,
        version=number,
        aliases=tuple(sorted(alias for alias, target in pointing.items() if target == number)),
        created=created.isoformat(timespec="seconds"),
        run_id=version.run_id or None,
        model_id=source.removeprefix("models:/") if source.startswith("models:/m-") else None,
        tags=dict(version.tags),
    )
