"""Envelope encryption of payloads: every fact about a data subject is sealed here on its way to the log."""

from collections.abc import Iterable, Mapping, Sequence

from factwire.domain.errors import DataSubjectErased, EncryptionNotConfigured, FactwireError
from factwire.domain.fact import NewFact
from factwire.store.encryption.keys import DataKey
from factwire.store.encryption.payloads import StoredDataKey, new_stored_key, read_keys, seal_payload
from factwire.store.pools import Pools


class PayloadEncryption:
    """Seals payloads. Data keys are read again for each request: a cached key could outlive its erasure."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    async def seal(self, facts: Sequence[NewFact]) -> list[NewFact]:
        """Seal facts for storage. Raises EncryptionNotConfigured, DataSubjectErased, KeyUnavailable."""
        ready, refusal = await self.seal_until_refused(facts)
        if refusal is not None:
            raise refusal
        return ready

    async def seal_until_refused(self, facts: Sequence[NewFact]) -> tuple[list[NewFact], FactwireError | None]:
        """Seal facts up to the first that cannot be sealed. Returns them, and the refusal of that one."""
        data_subjects = {fact.data_subject for fact in facts if fact.data_subject}
        ready: list[NewFact] = []
        stored: Mapping[str, StoredDataKey] | None = None
        keys: dict[str, DataKey] = {}
        try:
            for fact in facts:
                if fact.data_subject:
                    stored = stored or await self._stored_keys(data_subjects)
                    key = self._key_for(fact.data_subject, stored, keys)
                    kept = stored[fact.data_subject]
                    fact = seal_payload(fact, key, new_key=kept.key if kept.is_new else None)
                ready.append(fact)
        except FactwireError as error:
            return ready, error
        return ready, None

    def _key_for(self, data_subject: str, stored: Mapping[str, StoredDataKey], keys: dict[str, DataKey]) -> DataKey:
        if data_subject not in keys:
            kept = stored[data_subject]
            if kept.key is None:
                raise DataSubjectErased(data_subject)
            keys[data_subject] = self._pools.master_keys.unwrap(data_subject, kept.key_id, kept.key)
        return keys[data_subject]

    async def _stored_keys(self, data_subjects: Iterable[str]) -> Mapping[str, StoredDataKey]:
        """Wrapped data keys by data subject. A new data subject gets a key, which is stored with its first fact."""
        master_keys = self._pools.master_keys
        if not master_keys:
            raise EncryptionNotConfigured("Set FACTWIRE_MASTER_KEY or FACTWIRE_MASTER_KEY_FILE to publish such facts.")
        async with self._pools.read() as connection:
            stored = await read_keys(connection, data_subjects)
        new = {each: new_stored_key(master_keys.new_key(each)) for each in data_subjects if each not in stored}
        return {**stored, **new}


def needs_seal(facts: Sequence[NewFact]) -> bool:
    """True if a payload is about a data subject and not encrypted yet."""
    return any([fact.data_subject and not fact.seal for fact in facts])
