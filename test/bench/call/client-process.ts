/**
 * A client process. argv: a module that exports `open(target)`, and the target. Answers `LoadJob`s with `LoadResult`s.
 */
import { serveQuestions } from "./child.ts";
import { runLoad, type LoadClient, type LoadJob } from "./load.ts";

export interface ClientModule {
  open(target: string): Promise<LoadClient> | LoadClient;
}

const [, , module, target] = process.argv as [string, string, string, string];
const contender = (await import(module)) as ClientModule;
const client = await contender.open(target);
serveQuestions(
  (job: LoadJob) => runLoad(client, job),
  () => client.close(),
);
