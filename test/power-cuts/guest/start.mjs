// What Node runs in the guest.
import { runGuest } from "./main.ts";

await runGuest();
