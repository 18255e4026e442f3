// A Durable Object as its documentation recommends: state in memory, every change written through to its SQLite storage.
// The runtime's output gate holds the answer until the write is committed.
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS c (id INTEGER PRIMARY KEY, n INTEGER) WITHOUT ROWID");
    this.n = [...this.sql.exec("SELECT n FROM c WHERE id = 0")][0]?.n ?? 0;
  }
  increment() {
    this.n++;
    this.sql.exec("INSERT OR REPLACE INTO c VALUES (0, ?)", this.n);
    return this.n;
  }
  value() {
    return this.n;
  }
}

export default {
  async fetch(request, env) {
    const [, operation, key] = new URL(request.url).pathname.split("/");
    const stub = env.COUNTER.get(env.COUNTER.idFromName(key));
    return new Response(String(await stub[operation]()));
  },
};
