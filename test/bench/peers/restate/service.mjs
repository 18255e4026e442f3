// The SDK's side: a server that Restate calls back. argv: port, path of the SDK's entry.
const [, , port, sdk] = process.argv;
const restate = await import(sdk);

const counter = restate.object({
  name: "counter",
  handlers: {
    // exclusive: one at a time per key
    increment: async (ctx) => {
      const n = ((await ctx.get("n")) ?? 0) + 1;
      ctx.set("n", n);
      return n;
    },
    // shared: may run beside the exclusive one, and only reads
    value: restate.handlers.object.shared(async (ctx) => (await ctx.get("n")) ?? 0),
  },
});
await restate.serve({ services: [counter], port: Number(port) });
