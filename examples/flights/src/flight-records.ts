/**
 * The input: 20,000 US flights of early 2001 and the airports' names, as files of the npm package vega-datasets.
 */
import { readFile } from "node:fs/promises";
import { csvParse } from "d3-dsv";

export interface Flight {
  readonly origin: string;
  readonly destination: string;
  /** Minutes; negative when it left early. */
  readonly delay: number;
}

/** The package exports only its code; its data lies beside it. */
const dataFile = (name: string): URL =>
  new URL(`../data/${name}`, import.meta.resolve("vega-datasets"));

/** The flights in the file's order, which is by time. */
export async function readFlights(): Promise<readonly Flight[]> {
  return JSON.parse(await readFile(dataFile("flights-20k.json"), "utf8")) as Flight[];
}

/** IATA code → name, for instance "ORD" → "Chicago O'Hare International". */
export async function readAirportNames(): Promise<ReadonlyMap<string, string>> {
  const rows = csvParse(await readFile(dataFile("airports.csv"), "utf8"));
  return new Map(rows.map((row) => [row["iata"] ?? "", row["name"] ?? ""]));
}
