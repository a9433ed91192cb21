// Expected versions and command handlers of emmett, on a store over Factwire.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import {
  CommandHandler, ExpectedVersionConflictError, STREAM_DOES_NOT_EXIST, STREAM_EXISTS, getInMemoryEventStore,
} from "@event-driven-io/emmett";
import { FactwireEventStore } from "./emmett_store.mjs";

const STORES = {
  "Factwire": () => new FactwireEventStore(process.env.FACTWIRE_URL, `emmett-${randomUUID()}`),
  "the store of emmett itself": () => getInMemoryEventStore(),
};
const AT_ONCE = 12;

const deposited = (amount) => ({ type: "Deposited", data: { amount } });
const account = {
  initialState: () => ({ balance: 0, count: 0 }),
  evolve: ({ balance, count }, { data: { amount } }) => ({ balance: balance + amount, count: count + 1 }),
};
const conflicts = (promise) => assert.rejects(promise, ExpectedVersionConflictError);

for (const [name, newStore] of Object.entries(STORES)) {
  test(`${name}: a stream is aggregated, with its version`, async () => {
    const store = newStore();
    const stream = randomUUID();
    const empty = await store.aggregateStream(stream, account);
    assert.deepEqual([empty.streamExists, empty.currentStreamVersion, empty.state.balance], [false, 0n, 0]);
    const first = await store.appendToStream(stream, [deposited(1), deposited(2)]);
    assert.deepEqual([first.createdNewStream, first.nextExpectedStreamVersion], [true, 2n]);
    const second = await store.appendToStream(stream, [deposited(4)]);
    assert.deepEqual([second.createdNewStream, second.nextExpectedStreamVersion], [false, 3n]);
    const read = await store.aggregateStream(stream, account);
    assert.deepEqual([read.streamExists, read.currentStreamVersion, read.state.balance], [true, 3n, 7]);
  });

  test(`${name}: an exact version is neither too low nor too high`, async () => {
    const store = newStore();
    const stream = randomUUID();
    await store.appendToStream(stream, [deposited(1), deposited(2)], { expectedStreamVersion: 0n });
    for (const expectedStreamVersion of [0n, 1n, 3n, 9n]) {
      await conflicts(store.appendToStream(stream, [deposited(100)], { expectedStreamVersion }));
    }
    await store.appendToStream(stream, [deposited(4)], { expectedStreamVersion: 2n });
    assert.equal((await store.aggregateStream(stream, account)).state.balance, 7);
  });

  test(`${name}: a stream exists, or does not`, async () => {
    const store = newStore();
    const stream = randomUUID();
    await conflicts(store.appendToStream(stream, [deposited(1)], { expectedStreamVersion: STREAM_EXISTS }));
    await store.appendToStream(stream, [deposited(1)], { expectedStreamVersion: STREAM_DOES_NOT_EXIST });
    await conflicts(store.appendToStream(stream, [deposited(1)], { expectedStreamVersion: STREAM_DOES_NOT_EXIST }));
    await store.appendToStream(stream, [deposited(2)], { expectedStreamVersion: STREAM_EXISTS });
    assert.equal((await store.aggregateStream(stream, account)).state.balance, 3);
  });

  test(`${name}: command handlers at once lose no command`, async () => {
    const store = newStore();
    const stream = randomUUID();
    const handle = CommandHandler({ ...account, retry: { onVersionConflict: 100 } });
    const amounts = Array.from({ length: AT_ONCE }, (_, index) => 2 ** index);
    await Promise.all(amounts.map((amount) => handle(store, stream, () => deposited(amount))));
    const { events } = await store.readStream(stream);
    assert.deepEqual(events.map(({ data }) => data.amount).sort((a, b) => a - b), amounts);
    assert.deepEqual(
      events.map(({ metadata }) => metadata.streamPosition), amounts.map((_, index) => BigInt(index + 1)),
    );
  });
}
