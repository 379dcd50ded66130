/**
 * Memory budgets. One counts the bytes that flows hold for somebody; a guest's budget is part of the network's. Nothing is
 * refused here: whoever holds bytes asks `full` before it takes more, and has a floor of its own that it may always use,
 * so that nobody is stopped for good by what others hold.
 */
export class Budget {
  /** Bytes. */
  readonly limit: number;
  private readonly parent: Budget | undefined;
  private held = 0;
  /** The most that was ever held, bytes. */
  peak = 0;
  /** How often somebody found it full and held back. */
  refused = 0;

  constructor(limit: number, parent?: Budget) {
    this.limit = limit;
    this.parent = parent;
  }

  /** Bytes held now. */
  get used(): number {
    return this.held;
  }

  /** True when it, or one that it is part of, has nothing left. */
  get full(): boolean {
    return this.held >= this.limit || this.parent?.full === true;
  }

  /** True when three quarters are in use: senders are given small windows. */
  get tight(): boolean {
    return this.held >= this.limit * 0.75 || this.parent?.tight === true;
  }

  /** Bytes taken (or, negative, given back). */
  add(bytes: number): void {
    this.held += bytes;
    if (this.held > this.peak) this.peak = this.held;
    this.parent?.add(bytes);
  }
}
