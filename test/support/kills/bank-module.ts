/** The actors of the crash simulation as a module a host can load. */
import { bankActors } from "../../simulation/bank-actor.ts";

export const [Bank, Pal] = bankActors(() => {});
