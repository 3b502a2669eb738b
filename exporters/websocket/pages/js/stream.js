// The connection to the server: subscribes, reconnects, and hands events over once an
// animation frame, within a time that leaves the page responsive.

const frameBudget = 8; // ms of parsing in an animation frame
const maxPending = 16 << 20; // characters that wait while the page is hidden or busy
const maxDelay = 15_000; // ms between two attempts to connect

export class Stream {
  #socket = null;
  #subscription = null;
  #sent = 0;
  #confirmed = 0;
  #delay = 500;
  #pending = [];
  #size = 0;
  #scheduled = false;

  // Events that the server had no room for, and frames that this page had none for.
  lost = 0;
  skipped = 0;

  // handlers: events(list), report(report), retained(), state(text), changed().
  constructor(handlers) {
    this.handlers = handlers;
    this.#connect();
  }

  // subscribe asks for the events that filters let through, and for reports: alerts and
  // service_times.
  subscribe(filters, reports) {
    this.#subscription = JSON.stringify({ filters, ...reports, brief: true, batch: true, notices: true, retained: true });
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#send();
    }
  }

  #send() {
    this.#sent++;
    this.#socket.send(this.#subscription);
  }

  #connect() {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    this.#socket = new WebSocket(url);
    this.#sent = this.#confirmed = 0;
    this.lost = 0;
    this.#socket.addEventListener("open", () => {
      this.#delay = 500;
      this.handlers.state("Connected");
      if (this.#subscription) {
        this.#send();
      }
    });
    this.#socket.addEventListener("message", (message) => this.#receive(message.data));
    this.#socket.addEventListener("close", (event) => {
      const why = event.reason ? ` (${event.reason})` : "";
      this.handlers.state(`Not connected${why}. Trying again…`);
      setTimeout(() => this.#connect(), this.#delay);
      this.#delay = Math.min(this.#delay * 2, maxDelay);
    });
  }

  #receive(frame) {
    this.#pending.push(frame);
    this.#size += frame.length;
    let dropped = 0;
    while (this.#size > maxPending && dropped < this.#pending.length - 1) {
      // What is left out can't hold the beginning of the subscription in force, which
      // is small, unless it was skipped long before it was read.
      this.#size -= this.#pending[dropped].length;
      this.#confirmed += this.#pending[dropped].split('{"notice":{"subscribed":true}}').length - 1;
      dropped++;
    }
    if (dropped > 0) {
      this.#pending.splice(0, dropped);
      this.skipped += dropped;
      this.handlers.changed();
    }
    this.#schedule();
  }

  #schedule() {
    if (!this.#scheduled) {
      this.#scheduled = true;
      requestAnimationFrame(() => this.#work());
    }
  }

  #work() {
    this.#scheduled = false;
    const end = performance.now() + frameBudget;
    let events = [];
    let taken = 0;
    for (const frame of this.#pending) {
      taken++;
      this.#size -= frame.length;
      for (const line of frame.split("\n")) {
        const event = JSON.parse(line);
        if (event.notice) {
          this.#notice(event.notice, events);
          if (event.notice.subscribed || event.notice.retained) {
            events = [];
          }
        } else if (event.alerts || event.service_times) {
          this.handlers.report(event); // says itself what it is about
        } else if (this.#sent === this.#confirmed) {
          events.push(event);
        }
      }
      if (performance.now() > end) {
        break;
      }
    }
    this.#pending.splice(0, taken);
    if (events.length > 0) {
      this.handlers.events(events);
    }
    if (this.#pending.length > 0) {
      this.#schedule();
    }
  }

  #notice(notice, events) {
    if (notice.lost) {
      this.lost = notice.lost;
      this.handlers.changed();
    }
    if (notice.subscribed) {
      this.#confirmed++;
    }
    if (notice.retained && this.#sent === this.#confirmed) {
      this.handlers.events(events);
      this.handlers.retained();
    }
  }
}
