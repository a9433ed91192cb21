// Views that keep their cursor in the transaction of what it stands for.

import { TakenOver, TransactionLost } from "./errors.js";

/** What `project` needs of a view. */
export interface View<Target> {
  /** The cursor of the last transaction; `start` in the beginning. */
  cursor(): Promise<string>;
  /** Runs `work` in a transaction that also moves the cursor. */
  moved(cursor: string, work: (target: Target) => Promise<void>): Promise<void>;
}

const TABLE = "create table if not exists factwire_cursors (name text primary key, cursor text not null)";
const START = "insert into factwire_cursors (name, cursor) values ($1, 'start') on conflict do nothing";
const READ = "select cursor from factwire_cursors where name = $1";
const MOVE = "update factwire_cursors set cursor = $1 where name = $2";
const ENDED = "apply has ended the transaction, by a commit or a rollback of its own: leave that to project";

/** A client of `pg`, as far as it is used. */
export interface PgClient {
  query(text: string, values?: unknown[]): Promise<{ rows: any[]; rowCount: number | null }>;
}

/** A view in PostgreSQL, on a client of `pg` of its own. The cursor is kept in the table factwire_cursors, under a name. */
export class PgView<Client extends PgClient> implements View<Client> {
  private last = "";

  constructor(private readonly client: Client, private readonly name: string) {}

  async cursor(): Promise<string> {
    await this.client.query(TABLE);
    await this.client.query(START, [this.name]);
    this.last = (await this.client.query(READ, [this.name])).rows[0].cursor;
    return this.last;
  }

  async moved(cursor: string, work: (target: Client) => Promise<void>): Promise<void> {
    await this.client.query("begin");
    try {
      const found = (await this.client.query(`${READ} for update`, [this.name])).rows[0]?.cursor;
      if (found !== this.last) throw new TakenOver(`the cursor of ${this.name} is no longer ${this.last}`);
      await this.client.query("savepoint factwire");
      await work(this.client);
      await this.client.query("release savepoint factwire").catch((cause: unknown) => Promise.reject(new TransactionLost(ENDED, { cause })));
      await this.client.query(MOVE, [cursor, this.name]);
      await this.client.query("commit");
    } catch (error) {
      await this.client.query("rollback");
      throw error;
    }
    this.last = cursor;
  }
}

/** A database of `node:sqlite` or `better-sqlite3`, as far as it is used. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): { run(...values: any[]): { changes: number | bigint }; get(...values: any[]): any };
}

/** A view in SQLite. `apply` must not wait for anything else than the database. */
export class SqliteView<Database extends SqliteDatabase> implements View<Database> {
  private last = "";

  constructor(private readonly database: Database, private readonly name: string) {}

  async cursor(): Promise<string> {
    this.database.exec(TABLE);
    this.database.prepare(START.replace("$1", "?")).run(this.name);
    this.last = this.database.prepare(READ.replace("$1", "?")).get(this.name).cursor;
    return this.last;
  }

  async moved(cursor: string, work: (target: Database) => Promise<void>): Promise<void> {
    this.database.exec("begin immediate");
    try {
      const found = this.database.prepare(READ.replace("$1", "?")).get(this.name)?.cursor;
      if (found !== this.last) throw new TakenOver(`the cursor of ${this.name} is no longer ${this.last}`);
      this.database.exec("savepoint factwire");
      await work(this.database);
      try {
        this.database.exec("release factwire");
      } catch (cause) {
        throw new TransactionLost(ENDED, { cause });
      }
      this.database.prepare(MOVE.replace(/\$\d/g, "?")).run(cursor, this.name);
      this.database.exec("commit");
    } catch (error) {
      if (!(error instanceof TransactionLost)) this.database.exec("rollback");
      throw error;
    }
    this.last = cursor;
  }
}

const CURSORS = "factwire_cursors";

/**
 * A view in IndexedDB, in the object stores that are named. `apply` gets the transaction, and must wait for nothing but
 * its requests. The cursor is kept in the object store `factwire_cursors`, which `onupgradeneeded` has to create.
 */
export class IndexedDbView implements View<IDBTransaction> {
  private last = "";

  constructor(private readonly database: IDBDatabase, private readonly name: string, private readonly stores: string[]) {}

  async cursor(): Promise<string> {
    const found = await result(this.database.transaction(CURSORS).objectStore(CURSORS).get(this.name));
    return (this.last = found ?? "start");
  }

  async moved(cursor: string, work: (target: IDBTransaction) => Promise<void>): Promise<void> {
    const both = this.database.transaction([...this.stores, CURSORS], "readwrite");
    const completed = new Promise<void>((resolve, reject) => {
      both.oncomplete = () => resolve();
      both.onabort = () => reject(both.error ?? new TakenOver(`the cursor of ${this.name} is no longer ${this.last}`));
    });
    completed.catch(() => undefined); // told below, unless `work` has failed
    const cursors = both.objectStore(CURSORS);
    if (((await result(cursors.get(this.name))) ?? "start") !== this.last) both.abort();
    else {
      cursors.put(cursor, this.name);
      try {
        await work(both);
      } catch (error) {
        both.abort();
        throw error;
      }
    }
    await completed;
    this.last = cursor;
  }
}

const result = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** A view in a JSON file of Node: `apply` gets the object of its state. The file is replaced as a whole, for small states. */
export class FileView<State extends object> implements View<State> {
  private last = "";
  private current: State;

  constructor(private readonly path: string, private readonly initial: State) {
    this.current = initial;
  }

  get state(): State {
    return this.current;
  }

  async cursor(): Promise<string> {
    const content = await this.load();
    this.last = content.cursor;
    this.current = content.state;
    return this.last;
  }

  async moved(cursor: string, work: (target: State) => Promise<void>): Promise<void> {
    const state = structuredClone(this.current);
    await work(state);
    if ((await this.load()).cursor !== this.last) throw new TakenOver(`the cursor of ${this.path} is no longer ${this.last}`);
    const { open, rename } = await import("node:fs/promises");
    const file = await open(`${this.path}.part`, "w");
    try {
      await file.writeFile(JSON.stringify({ cursor, state }));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${this.path}.part`, this.path);
    this.last = cursor;
    this.current = state;
  }

  private async load(): Promise<{ cursor: string; state: State }> {
    const { readFile } = await import("node:fs/promises");
    try {
      return JSON.parse(await readFile(this.path, "utf8"));
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOENT") throw error;
      return { cursor: "start", state: structuredClone(this.initial) };
    }
  }
}
