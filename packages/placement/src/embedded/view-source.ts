/** The present view and who wants to hear of the next one: what both embedded ports are made of. */
export class ViewSource<View extends { readonly revision: number }> {
  #view: View;
  readonly #listeners = new Set<(view: View) => void>();

  constructor(first: View) {
    this.#view = first;
  }

  get view(): View {
    return this.#view;
  }

  subscribe(listener: (view: View) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  publish(next: View): void {
    this.#view = next;
    // A listener may unsubscribe itself or another: each view goes to who was there when it came.
    for (const listener of [...this.#listeners]) {
      if (this.#listeners.has(listener)) listener(next);
    }
  }

  close(): void {
    this.#listeners.clear();
  }
}
