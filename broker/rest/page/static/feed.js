// The stream of messages and clients. One connection, whose listeners may come and go.
const AGAIN = 2000;

export class Feed extends EventTarget {
  constructor() {
    super();
    this.query = "";
    this.leftOut = 0;
  }

  /** Watch with this filter from now on: { topic, client, text }, all optional. */
  watch({ topic = "", client = "", text = "" } = {}) {
    const query = new URLSearchParams();
    if (topic) query.set("topic", topic);
    if (client) query.set("client", client);
    if (text) query.set("text", text);
    this.query = String(query);
    this.open();
  }

  open() {
    this.source?.close();
    clearTimeout(this.again);
    this.source = new EventSource("/events" + (this.query ? `?${this.query}` : ""));
    this.source.onopen = () => this.tell("state", "live");
    this.source.onerror = () => {
      const refused = this.source.readyState === EventSource.CLOSED;
      if (refused) this.again = setTimeout(() => this.open(), AGAIN); // else the browser does it
      this.tell("state", refused ? "refused" : "lost");
    };
    for (const kind of ["message", "client", "worker"]) {
      this.source.addEventListener(kind, (event) => this.tell(kind, JSON.parse(event.data)));
    }
    this.source.addEventListener("left_out", (event) => {
      const value = JSON.parse(event.data);
      this.leftOut += value.count;
      this.tell("left_out", value);
    });
  }

  tell(kind, value) {
    this.dispatchEvent(new CustomEvent(kind, { detail: value }));
  }
}
