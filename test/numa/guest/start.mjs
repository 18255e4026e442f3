// What Node runs in the guest, in the main thread and in each worker.
import { runGuest } from "./main.ts";

await runGuest(new URL(import.meta.url));
