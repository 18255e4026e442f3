/**
 * Reminders: durable timers. They fire once per due time, also when the host was stopped or killed in between.
 *
 *     npm run example examples/reminders.ts
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineActor, readonly, startHost } from "@pinion/runtime";

export const Monitor = defineActor("monitor", {
  state: () => ({ checks: 0, reports: 0, missed: 0 }),
  methods: {
    watch(ctx) {
      ctx.reminders.set("check", { everyMs: 100 }, "check");
      ctx.reminders.set(
        "report",
        { cron: "0 9 * * MON-FRI", timeZone: "Europe/Vienna" },
        "report",
        "daily",
      );
      ctx.reminders.set(
        "escalate",
        { afterMs: 3_600_000, missed: "skip" },
        "report",
        "nobody came",
      );
    },
    check(ctx) {
      ctx.state.checks++;
      // Due times that went by while no host was running: one call for all of them, unless `missed` says otherwise.
      ctx.state.missed += ctx.reminder?.missed ?? 0;
    },
    report(ctx, why: string) {
      ctx.state.reports++;
      console.log(`report (${why}): ${ctx.state.checks} checks`);
    },
    counts: readonly((ctx) => ({ ...ctx.state })),
    schedule: readonly((ctx) => ctx.reminders.list().map(({ name, due }) => ({ name, due }))),
  },
});

if (import.meta.main) {
  const dataDir = await mkdtemp(join(tmpdir(), "pinion-reminders-"));
  const start = () => startHost({ actors: [Monitor], dataDir, port: 0, adminPort: 0 });
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  let host = await start();
  await host.client.get(Monitor, "web").watch();
  for (const { name, due } of await host.client.get(Monitor, "web").schedule()) {
    console.log(`${name.padEnd(8)} next at ${due.toISOString()}`);
  }
  await pause(550);
  console.log("after half a second:", await host.client.get(Monitor, "web").counts());
  await host.stop();

  await pause(1_000); // nobody runs
  host = await start();
  await pause(550);
  console.log(
    "after a second without a host, and another half:",
    await host.client.get(Monitor, "web").counts(),
  );
  await host.stop();
  await rm(dataDir, { recursive: true });
}
