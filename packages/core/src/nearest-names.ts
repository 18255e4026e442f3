/**
 * Suggestions for a mistyped name: the known names within a third of its length in edits (Damerau–Levenshtein, optimal string
 * alignment), nearest first, at most three.
 */
export function nearestNames(name: string, known: readonly string[]): string[] {
  const bound = Math.max(1, Math.ceil(name.length / 3));
  const wanted = name.toLowerCase();
  return known
    .filter((k) => Math.abs(k.length - name.length) <= bound)
    .map((k) => ({ k, edits: edits(wanted, k.toLowerCase()) }))
    .filter((c) => c.edits <= bound)
    .sort((a, b) => a.edits - b.edits || (a.k < b.k ? -1 : 1))
    .slice(0, 3)
    .map((c) => c.k);
}

function edits(a: string, b: string): number {
  // Three rows: a swap of neighbours looks two rows back.
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(
        (last[j] as number) + 1,
        (row[j - 1] as number) + 1,
        (last[j - 1] as number) + same,
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (beforeLast[j - 2] as number) + 1);
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] as number;
}
