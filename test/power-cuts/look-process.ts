/** guest/look.ts in a process of its own: what is wrong with a disk ends only that. Arguments: the folder, and a LookRequest. */
import { look, type LookRequest } from "./guest/look.ts";

const [, , dir = "", request = ""] = process.argv;
console.log(`found ${JSON.stringify(await look(dir, JSON.parse(request) as LookRequest))}`);
