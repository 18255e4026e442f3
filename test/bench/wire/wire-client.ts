/** The client process of the wire benchmark. argv: mode, port, callers, warm-up ms, ms. Prints one JSON line. */
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { connect } from "@pinion/client";
import { pack, unpack } from "msgpackr";
import { floorService } from "./floor-service.ts";

const [, , mode, port, callers, warmupMs, runMs] = process.argv;

interface Subject {
  increment(by: number): Promise<unknown>;
  close(): unknown;
}

function floorClient(): Subject {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = floorService.batch;
  const stream = client.makeBidiStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    new Metadata(),
  );
  const waiting = new Map<number, (value: unknown) => void>();
  let batch: [number, string, number][] = [];
  let seq = 0;
  stream.on("data", (bytes: Buffer) => {
    for (const [id, value] of unpack(bytes) as [number, number][]) {
      const resolve = waiting.get(id);
      waiting.delete(id);
      resolve?.(value);
    }
  });
  return {
    increment: (by) =>
      new Promise((resolve) => {
        waiting.set(++seq, resolve);
        if (batch.push([seq, "hot", by]) > 1) return;
        setImmediate(() => {
          const calls = batch;
          batch = [];
          stream.write(pack(calls));
        });
      }),
    close: () => client.close(),
  };
}

async function pinionClient(): Promise<Subject> {
  const client = await connect(`127.0.0.1:${port}`);
  const ref = client.get("counter" as never, "hot") as unknown as {
    increment(by: number): Promise<unknown>;
  };
  return { increment: (by) => ref.increment(by), close: () => client.close() };
}

async function drive(subject: Subject, count: number, forMs: number) {
  const latencies: number[] = [];
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const endMs = startMs + forMs;
  await Promise.all(
    Array.from({ length: count }, async () => {
      for (;;) {
        const sentMs = performance.now();
        if (sentMs >= endMs) return;
        await subject.increment(1);
        latencies.push(performance.now() - sentMs);
      }
    }),
  );
  const seconds = (performance.now() - startMs) / 1000;
  const used = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const quantile = (q: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))];
  return {
    rate: latencies.length / seconds,
    p50: quantile(0.5),
    p99: quantile(0.99),
    cpu: (used.user + used.system) / 1e6 / seconds,
  };
}

const subject = mode === "floor" ? floorClient() : await pinionClient();
await drive(subject, Number(callers), Number(warmupMs));
console.log(JSON.stringify(await drive(subject, Number(callers), Number(runMs))));
await subject.close();
process.exit(0);
