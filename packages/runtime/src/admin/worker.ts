/** What a worker answers to the admin port (index.ts). */
export { inspectActor } from "./actor-inspection.ts";
export { workerAnswers, type AnsweringWorker } from "./worker-answers.ts";
