export * from "./gateway/index.ts";
