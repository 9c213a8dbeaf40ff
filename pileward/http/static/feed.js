// A WebSocket that comes back by itself, and the server's clock as last heard.
//
// The server may run faster than real time (a demo does), so ages are counted on its clock: the last time it told,
// moved on by our own steady clock times its rate.

const SILENT_MS = 25_000; // the server says something at least every 10 s
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

export class Feed {
  /** `onMessage(object)`, `onLink(isUp, retryInMs)`; reconnects with growing pauses until `close()`. */
  constructor(path, { onMessage, onLink }) {
    this.path = path;
    this.onMessage = onMessage;
    this.onLink = onLink;
    this.pause = FIRST_RETRY_MS;
    this.heard = 0;
    this.told = null;
    this.rate = 1;
    this.isClosed = false;
    this.watch = setInterval(() => this.check(), 2_000);
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.retryNow());
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    const url = new URL(this.path, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.heard = performance.now();
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      const message = JSON.parse(data);
      this.heard = performance.now();
      if (message.rate) this.rate = message.rate;
      if (message.at) this.told = { server: Date.parse(message.at), here: this.heard };
      if (this.pause !== FIRST_RETRY_MS || !this.isUp) {
        this.pause = FIRST_RETRY_MS;
        this.isUp = true;
        this.onLink(true, 0);
      }
      this.onMessage(message);
    };
    socket.onclose = () => socket === this.socket && this.lost();
  }

  lost() {
    this.isUp = false;
    if (this.isClosed) return;
    const wait = this.pause * (0.75 + Math.random() / 2);
    this.pause = Math.min(this.pause * 2, LAST_RETRY_MS);
    this.onLink(false, wait);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait);
  }

  check() {
    // A half-open connection never says that it is gone.
    if (this.socket.readyState <= WebSocket.OPEN && performance.now() - this.heard > SILENT_MS) {
      const silent = this.socket;
      this.lost();
      silent.onclose = null;
      silent.close();
    }
  }

  retryNow() {
    if (!this.isClosed && !this.isUp && this.socket.readyState > WebSocket.OPEN) this.open();
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    clearInterval(this.watch);
    this.socket.close();
  }

  /** Milliseconds since 1970 on the server's clock, now. */
  now() {
    return this.told ? this.told.server + (performance.now() - this.told.here) * this.rate : Date.now();
  }

  /** Real seconds since anything was heard. */
  quiet() {
    return (performance.now() - this.heard) / 1000;
  }
}
