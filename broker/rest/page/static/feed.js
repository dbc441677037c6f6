// The stream of messages and clients. One connection, whose listeners may come and go.
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
    this.source = new EventSource("/events" + (this.query ? `?${this.query}` : ""));
    this.source.onopen = () => this.tell("state", "live");
    this.source.onerror = () => this.tell("state", this.source.readyState === EventSource.CLOSED ? "refused" : "lost");
    for (const kind of ["message", "client"]) {
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
