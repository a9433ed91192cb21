"""Describe each table in the database itself, for whoever opens it with psql.

Safe beside running services of the version before: comments lock no rows and change no statement.
"""

from alembic import op

revision = "1002"
down_revision = "1001"

COMMENTS = {
    "log": "One row: identity, epoch, floor and forks of the log, and the key of the advisory lock that orders it.",
    "epochs": "Each epoch, and the last position that its history shares with the one before.",
    "facts": "The facts. Immutable: only a redaction may remove a payload.",
    "fact_tags": "Inverted index: a row lists the facts of one append that have a tag.",
    "fact_ids": "Position and digest of each fact, by its id: retries are recognised here.",
    "chain": "Hash chain: one entry for each append.",
    "types": "Catalogue of namespaces, types and versions.",
    "namespaces": "Number of types of each namespace, and the principal that published its first fact.",
    "creators": "Number of namespaces that each principal has created.",
    "type_counts": "Counts of facts by type, up to the position in counted.",
    "namespace_counts": "Counts of facts by namespace, up to the position in counted.",
    "counted": "One row: the position up to which facts are counted.",
    "data_subjects": "Wrapped data key of each data subject; null after its erasure.",
    "sealed": "Encrypted payloads of facts about data subjects.",
    "redactions": "Facts without their payload, and the reason.",
    "keys": "API keys without their secrets.",
    "key_secrets": "Digests of the secrets of API keys.",
    "keys_version": "One row: a counter of changes to keys, for the key caches of the processes.",
    "sessions": "Digests of browser sessions.",
    "tickets": "Digests of single-use stream tickets.",
}


def upgrade() -> None:
    for table, comment in COMMENTS.items():
        op.execute(f"comment on table factwire.{table} is '{comment}'")


def downgrade() -> None:
    for table in COMMENTS:
        op.execute(f"comment on table factwire.{table} is null")
