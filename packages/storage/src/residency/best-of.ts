/**
 * The few that come first of very many: a heap of those found so far, the last of them on top (Knuth volume 3, 5.2.3). Most are compared with that one
 * and dropped. Sorting 100,000 extents instead held the event loop for a second.
 */

/**
 * @param compare as `Array.prototype.sort` takes it
 * @returns at most `limit`, in order
 */
export function bestOf<T>(items: Iterable<T>, limit: number, compare: (a: T, b: T) => number): T[] {
  const heap: T[] = [];
  if (limit < 1) return heap;
  for (const item of items) {
    if (heap.length < limit) {
      heap.push(item);
      rise(heap, compare);
    } else if (compare(item, heap[0] as T) < 0) {
      heap[0] = item;
      sink(heap, compare);
    }
  }
  return heap.sort(compare);
}

function rise<T>(heap: T[], compare: (a: T, b: T) => number): void {
  let at = heap.length - 1;
  while (at > 0) {
    const above = (at - 1) >> 1;
    if (compare(heap[at] as T, heap[above] as T) <= 0) return;
    swap(heap, at, above);
    at = above;
  }
}

function sink<T>(heap: T[], compare: (a: T, b: T) => number): void {
  for (let at = 0; ;) {
    let last = at;
    for (const below of [2 * at + 1, 2 * at + 2])
      if (below < heap.length && compare(heap[below] as T, heap[last] as T) > 0) last = below;
    if (last === at) return;
    swap(heap, at, last);
    at = last;
  }
}

function swap<T>(heap: T[], a: number, b: number): void {
  const item = heap[a] as T;
  heap[a] = heap[b] as T;
  heap[b] = item;
}
