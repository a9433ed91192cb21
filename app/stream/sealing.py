"""Sealing what is to be published: every fact about a data subject passes here on its way to the log."""

from collections.abc import Iterable, Mapping, Sequence

from app.domain.errors import DataSubjectErased, EncryptionNotConfigured, FactwireError, Unavailable
from app.domain.fact import NewFact
from app.store.database import Database
from app.store.master_keys import DataKey
from app.store.sealing import StoredKey, add_keys, read_keys, sealed


class Sealing:
    """Reads the keys anew for each request: a key that was kept could outlive its erasure."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seal(self, facts: Sequence[NewFact]) -> list[NewFact]:
        """The facts as they are stored. Raises EncryptionNotConfigured, DataSubjectErased, KeyUnavailable."""
        ready, refusal = await self.seal_first(facts)
        if refusal is not None:
            raise refusal
        return ready

    async def seal_first(self, facts: Sequence[NewFact]) -> tuple[list[NewFact], FactwireError | None]:
        """The facts as they are stored, up to the first that cannot be, and why that one cannot."""
        data_subjects = {fact.data_subject for fact in facts if fact.data_subject}
        ready: list[NewFact] = []
        stored: Mapping[str, StoredKey] | None = None
        keys: dict[str, DataKey] = {}
        try:
            for fact in facts:
                if fact.data_subject:
                    stored = stored or await self._stored_keys(data_subjects)
                    fact = sealed(fact, self._key_for(fact.data_subject, stored, keys))
                ready.append(fact)
        except FactwireError as error:
            return ready, error
        return ready, None

    def _key_for(self, data_subject: str, stored: Mapping[str, StoredKey], keys: dict[str, DataKey]) -> DataKey:
        if data_subject not in keys:
            kept = stored.get(data_subject)
            if kept is None:
                raise Unavailable("The key of a data subject could not be made.")
            if kept.key is None:
                raise DataSubjectErased(data_subject)
            keys[data_subject] = self._database.master_keys.unwrap(data_subject, kept.key_id, kept.key)
        return keys[data_subject]

    async def _stored_keys(self, data_subjects: Iterable[str]) -> Mapping[str, StoredKey]:
        """The keys as they are stored; a data subject that is new gets one."""
        master_keys = self._database.master_keys
        if not master_keys:
            raise EncryptionNotConfigured("Set FACTWIRE_MASTER_KEY or FACTWIRE_MASTER_KEY_FILE to publish such facts.")
        async with self._database.reading.reading() as connection:
            stored = await read_keys(connection, data_subjects)
            new = {each: master_keys.new_key(each) for each in data_subjects if each not in stored}
            if not new:
                return stored
            await add_keys(connection, new)
            return {**stored, **await read_keys(connection, new)}
