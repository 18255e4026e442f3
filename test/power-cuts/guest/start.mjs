// What Node runs in the guest.
import { fileURLToPath } from "node:url";
import { runGuest } from "./main.ts";

await runGuest(fileURLToPath(import.meta.url));
