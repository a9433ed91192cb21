"""Tables of the schema of the log, which `alembic check` compares with a migrated database."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "factwire"
METADATA = MetaData(schema=SCHEMA)

Name = Text(collation="C")

log = Table(
    "log",
    METADATA,
    Column("one", Boolean, CheckConstraint("one"), primary_key=True, server_default=text("true")),
    Column("identity", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("lock_key", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False, server_default=text("1")),
    Column("floor", BigInteger, nullable=False, server_default=text("0")),
    Column("partition_facts", BigInteger, nullable=False, server_default=text("10000000")),
    Column("erasures", BigInteger, nullable=False, server_default=text("0")),
    Column("forked_at", DateTime(timezone=True)),
    Column("forked_after", BigInteger),
    Column("system_identifier", BigInteger),
    Column("timeline", Integer),
    Column(
        "idempotency_secret",
        LargeBinary,
        nullable=False,
        server_default=text("uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"),
    ),
    comment="One row: identity, epoch, floor and forks of the log, and the key of the advisory lock that orders it.",
)

epochs = Table(
    "epochs",
    METADATA,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("forked_after", BigInteger, nullable=False),
    Column("raised_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    comment="Each epoch, and the last position that its history shares with the one before.",
)

facts = Table(
    "facts",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Uuid, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("namespace", Name, nullable=False),
    Column("type", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    postgresql_partition_by="RANGE (position)",
    comment="The facts. Immutable: only a redaction may remove a payload.",
)

fact_tags = Table(
    "fact_tags",
    METADATA,
    Column("tag", Name, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("earlier", ARRAY(SmallInteger)),
    postgresql_partition_by="RANGE (position)",
    comment="Inverted index: a row lists the facts of one append that have a tag.",
)

fact_ids = Table(
    "fact_ids",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    comment="Position and digest of each fact, by its id: retries are recognised here.",
)

types = Table(
    "types",
    METADATA,
    Column("namespace", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    comment="Catalogue of namespaces, types and versions.",
)

namespaces = Table(
    "namespaces",
    METADATA,
    Column("namespace", Name, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("types", Integer, nullable=False),
    comment="Number of types of each namespace, and the principal that published its first fact.",
)

creators = Table(
    "creators",
    METADATA,
    Column("principal", Text, primary_key=True),
    Column("namespaces", Integer, nullable=False),
    comment="Number of namespaces that each principal has created.",
)

namespace_counts = Table(
    "namespace_counts",
    METADATA,
    Column("namespace", Name, primary_key=True),
    Column("facts", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    comment="Counts of facts by namespace, up to the position in counted.",
)

keys = Table(
    "keys",
    METADATA,
    Column("id", Name, primary_key=True),
    Column("name", Text, nullable=False),
    Column("grants", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
    Column("expiry_recorded_at", DateTime(timezone=True)),
    Index(
        "keys_by_unrecorded_expiry",
        "expires_at",
        postgresql_where=text("revoked_at is null and expiry_recorded_at is null"),
    ),
    comment="API keys without their secrets.",
)

key_secrets = Table(
    "key_secrets",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", Name, ForeignKey("factwire.keys.id"), nullable=False, index=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", DateTime(timezone=True)),
    comment="Digests of the secrets of API keys.",
)

keys_version = Table(
    "keys_version",
    METADATA,
    Column("one", Boolean, CheckConstraint("one"), primary_key=True, server_default=text("true")),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    comment="One row: a counter of changes to keys, for the key caches of the processes.",
)

type_counts = Table(
    "type_counts",
    METADATA,
    Column("namespace", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("facts", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    comment="Counts of facts by type, up to the position in counted.",
)

counted = Table(
    "counted",
    METADATA,
    Column("one", Boolean, CheckConstraint("one"), primary_key=True, server_default=text("true")),
    Column("through", BigInteger, nullable=False, server_default=text("0")),
    Column("activity_through", BigInteger, nullable=False, server_default=text("0")),
    comment="One row: the position up to which facts are counted.",
)

activity = Table(
    "activity",
    METADATA,
    Column("namespace", Name, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("type", Name, primary_key=True),
    Column("facts", BigInteger, nullable=False),
    comment="Counts of facts by minute and type, up to activity_through in counted.",
)

job_leases = Table(
    "job_leases",
    METADATA,
    Column("name", Name, primary_key=True),
    Column("holder", Uuid, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    comment="Leases of jobs: one process does a job at a time.",
)

tickets = Table(
    "tickets",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("query", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("session", LargeBinary, ForeignKey("factwire.sessions.digest", ondelete="CASCADE")),
    Index("tickets_by_end", "expires_at"),
    Index("tickets_by_session", "session"),
    comment="Digests of single-use stream tickets.",
)

sessions = Table(
    "sessions",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("session", LargeBinary, ForeignKey("factwire.sessions.digest", ondelete="CASCADE")),
    Index("sessions_by_end", "expires_at"),
    Index("sessions_by_session", "session"),
    comment="Digests of browser sessions.",
)

data_subjects = Table(
    "data_subjects",
    METADATA,
    Column("id", Name, primary_key=True),
    Column("key_id", Uuid, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("master_key", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("erased_at", DateTime(timezone=True)),
    CheckConstraint("(wrapped_key is null) = (erased_at is not null)"),
    CheckConstraint("(wrapped_key is null) = (master_key is null)"),
    comment="Wrapped data key of each data subject; null after its erasure.",
)

sealed = Table(
    "sealed",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("data_subject", Name, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    comment="Encrypted payloads of facts about data subjects.",
)

redactions = Table(
    "redactions",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("fact_id", Uuid, nullable=False),
    Column("reason", Text, nullable=False),
    Column("redacted_at", DateTime(timezone=True), nullable=False),
    comment="Facts without their payload, and the reason.",
)

chain = Table(
    "chain",
    METADATA,
    Column("last_position", BigInteger, primary_key=True, autoincrement=False),
    Column("first_position", BigInteger, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("bytes_so_far", BigInteger),
    comment="Hash chain: one entry for each append.",
)

subscriptions = Table(
    "subscriptions",
    METADATA,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("query", JSONB, nullable=False),
    Column("include", ARRAY(Text), nullable=False),
    Column("exclude", ARRAY(Text), nullable=False),
    Column("ordering", Text, CheckConstraint("ordering in ('none', 'aggregate', 'all')"), nullable=False),
    Column("ack_timeout_seconds", Double, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("on_failure", Text, CheckConstraint("on_failure in ('park', 'pause')"), nullable=False),
    Column("in_flight_max", Integer, nullable=False),
    Column("backoff_first_seconds", Double, nullable=False),
    Column("backoff_factor", Double, nullable=False),
    Column("backoff_most_seconds", Double, nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("1")),
    Column("revision", Integer, nullable=False, server_default=text("1")),
    Column("paused_at", DateTime(timezone=True)),
    Column("failed", Boolean, nullable=False, server_default=text("false")),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("created_by", Text, nullable=False),
    comment="Subscriptions: what each asks for, and if it is paused.",
)

subscription_cursors = Table(
    "subscription_cursors",
    METADATA,
    Column("subscription", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False, server_default=text("0")),
    Column("taken", BigInteger, nullable=False, server_default=text("0")),
    Column("aside", Integer, nullable=False, server_default=text("0")),
    Column("in_flight", Integer, nullable=False, server_default=text("0")),
    Column("look_at", DateTime(timezone=True)),
    comment="Position and counts of each subscription: the newest row counts.",
)

subscription_leases = Table(
    "subscription_leases",
    METADATA,
    Column("subscription", Integer, primary_key=True, autoincrement=False),
    Column("lease", BigInteger, primary_key=True, autoincrement=False),
    Column("worker", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("positions", ARRAY(BigInteger), nullable=False),
    Column("attempts", ARRAY(SmallInteger), nullable=False),
    Column("keys", ARRAY(BigInteger), nullable=False),
    Column("key_places", ARRAY(SmallInteger), nullable=False),
    comment="Facts in the hands of workers: one row for each claim.",
)

subscription_open_keys = Table(
    "subscription_open_keys",
    METADATA,
    Column("subscription", Integer, primary_key=True, autoincrement=False),
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    comment="Keys of claimed and set aside facts, which hold back later ones.",
)

subscription_aside = Table(
    "subscription_aside",
    METADATA,
    Column("subscription", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, CheckConstraint("state in ('held', 'ready', 'delayed', 'parked')"), nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("turn", BigInteger),
    Column("due", DateTime(timezone=True)),
    Column("alone", Boolean, nullable=False),
    Column("keys", ARRAY(BigInteger), nullable=False),
    Column("reason", Text),
    Column("worker", Text),
    Column("set_aside_at", DateTime(timezone=True)),
    Index("subscription_aside_by_turn", "subscription", "turn", postgresql_where=text("state = 'ready'")),
    Index("subscription_aside_by_due", "subscription", "due", postgresql_where=text("due is not null")),
    Index("subscription_aside_parked", "subscription", "position", postgresql_where=text("state = 'parked'")),
    comment="Facts that the cursor has passed and that are in no lease.",
)

subscription_settled = Table(
    "subscription_settled",
    METADATA,
    Column("subscription", Integer, primary_key=True, autoincrement=False),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("keys", ARRAY(BigInteger), nullable=False),
    Column("key_positions", ARRAY(BigInteger), nullable=False),
    Column("facts", Integer, nullable=False),
    comment="Facts acknowledged by a publish, with keys that are still open.",
)

subscription_lost_leases = Table(
    "subscription_lost_leases",
    METADATA,
    Column("subscription", Integer, primary_key=True, autoincrement=False),
    Column("lease", BigInteger, primary_key=True, autoincrement=False),
    Column("positions", ARRAY(BigInteger), nullable=False),
    Column("lost_at", DateTime(timezone=True), nullable=False),
    Index("subscription_lost_leases_by_time", "lost_at"),
    comment="Facts that left their lease unacknowledged, for a while.",
)

subscription_workers = Table(
    "subscription_workers",
    METADATA,
    Column("subscription", Integer, primary_key=True, autoincrement=False),
    Column("worker", Text, primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    comment="Last sign of life of each worker, for a while.",
)
