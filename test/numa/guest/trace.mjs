// Loads what the guest loads, to be traced.
await import("./main.ts");
await import("./worker.ts");
const { memoryDoor } = await import("@pinion/storage");
memoryDoor();
