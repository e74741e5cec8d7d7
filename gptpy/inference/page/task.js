// What is being written in a tab: one at a time, ended by its Stop button or by the next one.

export class Task {
  /** `stop`: the button; `next`: what gets the focus when that one has nothing to do any more. */
  constructor(stop, next) {
    [this.stop, this.next, this.running] = [stop, next, null];
    stop.addEventListener("click", () => this.cancel());
  }

  cancel() {
    this.running?.abort();
  }

  /** Runs `work(signal)` after ending what runs. */
  async run(work) {
    this.cancel();
    const own = (this.running = new AbortController());
    this.stop.disabled = false;
    try {
      return await work(own.signal);
    } finally {
      if (this.running === own) {
        this.running = null;
        if (document.activeElement === this.stop) this.next.focus(); // a disabled button loses it
        this.stop.disabled = true;
      }
    }
  }
}
