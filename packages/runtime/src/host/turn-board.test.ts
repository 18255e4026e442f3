import { expect, test } from "vitest";
import type { IncomingCall } from "../gateway/dispatcher.ts";
import { createTurnBoard, TurnBoardReader, TurnBoardWriter } from "./turn-board.ts";

const call = (seq: number, path = "", session = "sessionsessionsessions"): IncomingCall =>
  ({ session: { id: session, ackedBelow: 0 }, seq, path }) as IncomingCall;

function board(): { writer: TurnBoardWriter; reader: TurnBoardReader } {
  const memory = createTurnBoard();
  return { writer: new TurnBoardWriter(memory), reader: new TurnBoardReader(memory) };
}

test("nothing is shown outside of turns", () => {
  const { writer, reader } = board();
  expect(reader.current()).toBeUndefined();
  writer.enter("counter/a", "increment", call(1));
  writer.leave();
  expect(reader.current()).toBeUndefined();
});

test("the turn the loop is in is shown exactly, whatever the one before was", () => {
  const { writer, reader } = board();
  const turns = [
    ["counter/a-long-key", "increment", call(1)],
    ["counter/b", "up", call(2 ** 40, "0.1")],
    ["counter/b", "up", call(3)],
    ["counter/ключ/🔑", "increment", call(3, "", "other")],
  ] as const;
  for (const [actor, method, c] of turns) {
    writer.enter(actor, method, c);
    expect(reader.current()).toEqual({
      actor,
      method,
      call: { session: c.session.id, seq: c.seq, path: c.path },
      exact: true,
    });
    writer.leave();
  }
});

test("a hook has no call, also after a turn that had one", () => {
  const { writer, reader } = board();
  writer.enter("counter/a", "increment", call(1));
  writer.enter("counter/a", "onActivate", undefined);
  expect(reader.current()).toMatchObject({ method: "onActivate", call: undefined, exact: true });
});

test("what follows an await is not blamed for certain", () => {
  const { writer, reader } = board();
  writer.resume("counter/a", "increment", call(1));
  expect(reader.current()).toMatchObject({ actor: "counter/a", exact: false });
});

test("texts that are too long are cut, and then nothing is certain", () => {
  const { writer, reader } = board();
  writer.enter(`counter/${"x".repeat(2_000)}`, "increment", call(1));
  const turn = reader.current();
  expect(turn?.actor).toHaveLength(640);
  expect(turn?.exact).toBe(false);
  // The longest id there can be still fits.
  writer.enter(`n@b:counter/${"x".repeat(500)}`, "increment", call(1));
  expect(reader.current()?.exact).toBe(true);
});

test("beats are counted", () => {
  const { writer, reader } = board();
  writer.beat();
  writer.beat();
  expect(reader.beats).toBe(2);
});
