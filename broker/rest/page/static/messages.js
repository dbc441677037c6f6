// The live stream of messages.
import { bytes, copy, facts, field, h, millis, number, reveal, toast } from "./dom.js";
import { bytesOf, preview, views } from "./payload.js";

const KEPT = 500;

export class Messages {
  title = "Messages";

  constructor(app) {
    this.app = app;
    this.pending = [];
    this.paused = false;
    this.count = 0;
    this.list = h("ul", { class: "rows", "aria-label": "Messages, newest first", onkeydown: (event) => this.move(event) });
    this.nothing = h("p", { class: "empty" }, "Nothing has been published yet. Publish something, and it appears here.");
    this.info = h("p", { class: "note", role: "status" });
    this.detail = h("aside", { class: "box", "aria-label": "The chosen message" }, h("p", { class: "empty" }, "Choose a message to see all of it."));
    this.pauseButton = h("button", { type: "button", id: "pause", "aria-pressed": "false", onclick: () => this.pause(!this.paused) }, "Pause");
    this.filters = ["topic", "client", "text"].map((name) => h("input", { name, autocomplete: "off", spellcheck: "false" }));
    this.filters[0].placeholder = "sensors/+/temperature";
    const form = h("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); this.filter(); } },
      field("Topic filter", this.filters[0], { class: "grow" }),
      field("Client contains", this.filters[1], { class: "grow" }),
      field("Payload contains", this.filters[2], { class: "grow" }),
      h("div", { class: "group" }, h("button", { type: "submit" }, "Filter"), this.pauseButton,
        h("button", { type: "button", onclick: () => this.clear() }, "Clear")));
    this.silent = new Set();
    this.missing = h("p", { class: "note warn", role: "status" });
    this.element = h("div", {}, form, this.info, this.missing,
      h("div", { class: "split" }, h("section", { class: "box", "aria-label": "Stream" }, this.nothing, this.list), this.detail));
    app.feed.addEventListener("message", (event) => this.add("message", event.detail));
    app.feed.addEventListener("client", (event) => this.add("client", event.detail));
    app.feed.addEventListener("worker", ({ detail }) => {
      if (detail.answers) this.silent.delete(detail.worker);
      else this.silent.add(detail.worker);
      const names = [...this.silent].sort().map((one) => `Worker ${one}`).join(", ");
      this.missing.textContent = names && `Without an answer: ${names}. Messages that clients of it publish are not shown.`;
    });
    app.feed.addEventListener("state", () => { this.silent.clear(); this.missing.textContent = ""; });
    app.feed.addEventListener("left_out", (event) => this.tell(event.detail));
  }

  filter() {
    const [topic, client, text] = this.filters.map((input) => input.value.trim());
    const error = filterError(topic);
    if (error) {
      toast(error);
      return;
    }
    this.clear();
    this.app.feed.watch({ topic, client, text });
  }

  pause(on) {
    this.paused = on;
    this.pauseButton.textContent = on ? "Go on" : "Pause";
    this.pauseButton.setAttribute("aria-pressed", String(on));
    if (!on) this.draw();
  }

  clear() {
    this.pending = [];
    this.count = 0;
    this.app.feed.leftOut = 0;
    this.list.replaceChildren();
    this.nothing.hidden = false;
    this.info.textContent = "";
  }

  tell({ sampling }) {
    const left = this.app.feed.leftOut;
    this.info.classList.toggle("warn", sampling);
    if (left) this.info.textContent = `${number(this.count)} messages shown, ${number(left)} left out: they come faster than they can be shown.`;
  }

  add(kind, value) {
    if (kind === "message") this.count += 1;
    this.pending.push({ kind, value });
    if (this.pending.length > KEPT) this.pending.shift();
    if (!this.paused && !this.drawing) {
      this.drawing = true;
      requestAnimationFrame(() => { this.drawing = false; this.draw(); });
    }
  }

  draw() {
    if (!this.pending.length) return;
    this.nothing.hidden = true;
    const rows = this.pending.map(({ kind, value }) => h("li", {}, kind === "message" ? this.row(value) : clientRow(value)));
    this.pending = [];
    this.list.prepend(...rows.reverse());
    while (this.list.childElementCount > KEPT) this.list.lastElementChild.remove();
    if (!this.list.contains(document.activeElement)) this.enter(this.chosen?.isConnected ? this.chosen : this.list.querySelector("button"));
  }

  /** Tab enters the list at this row, and leaves it again; up and down go from message to message. */
  enter(row) {
    if (this.entry) this.entry.tabIndex = -1;
    this.entry = row;
    if (row) row.tabIndex = 0;
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const all = [...this.list.querySelectorAll("button")];
    all[all.indexOf(document.activeElement) + step]?.focus();
    event.preventDefault();
  }

  row(message) {
    const marks = `Q${message.qos}${message.retain ? " R" : ""}`;
    const row = h("button", { type: "button", class: "row fresh", tabindex: "-1", onfocus: () => this.enter(row), onclick: () => this.choose(message, row) },
      h("span", { class: "time mono" }, millis(message.at)),
      h("span", { class: "mono", title: message.topic }, message.topic),
      h("span", { class: "payload mono" }, preview(message)),
      h("span", { class: "right" }, marks));
    return row;
  }

  choose(message, row) {
    this.chosen?.removeAttribute("aria-current");
    this.chosen = row;
    row.setAttribute("aria-current", "true");
    this.detail.replaceChildren(messageDetail(message, this.app));
    reveal(this.detail);
  }
}

/** What is wrong with a topic filter, in words; "" where nothing is. */
function filterError(filter) {
  const levels = filter.split("/");
  if (levels.some((level, at) => level.includes("#") && (level !== "#" || at < levels.length - 1))) return "In a topic filter, # stands alone and at the end: a/#.";
  if (levels.some((level) => level.includes("+") && level !== "+")) return "In a topic filter, + stands alone between slashes: a/+/b.";
  return "";
}

function clientRow(event) {
  const what = event.connected ? "connected" : `disconnected (${event.reason})`;
  return h("div", { class: "row event" }, h("span", { class: "time mono" }, millis(event.at)),
    h("span", { class: "mono" }, event.client), h("span", { class: "payload" }, what), h("span", {}, ""));
}

let favourite = "";

export function messageDetail(message, app) {
  const found = views(message);
  const first = Math.max(0, found.findIndex(([name]) => name === favourite));
  const shown = h("div", { class: "scroll" }, found[first][1]());
  const choices = found.map(([name, make], index) => h("button", {
    type: "button", class: "small", "aria-pressed": String(index === first),
    onclick: (event) => {
      favourite = index ? name : ""; // the best one is chosen anew for each message
      for (const other of event.currentTarget.parentElement.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
      shown.replaceChildren(make());
    },
  }, name));
  const properties = Object.entries(message.properties ?? {}).map(([name, value]) => [
    name.replaceAll("_", " "),
    Array.isArray(value) ? value.map((one) => (Array.isArray(one) ? one.join(" = ") : one)).join(", ") : String(value),
  ]);
  const cut = message.size > bytesOf(message).length;
  return h("div", {},
    h("h2", { class: "mono" }, message.topic),
    facts([["published", message.at ? millis(message.at) : "before this page was opened"], ["client", message.client ?? "the broker"], ["user", message.username],
      ["QoS", String(message.qos)], ["retain", message.retain ? "yes" : "no"], ["size", bytes(message.size)], ...properties]),
    h("h3", {}, "Payload"), h("div", { class: "bar" }, choices),
    cut ? h("p", { class: "note warn" }, `Only the first ${bytes(bytesOf(message).length)} are shown.`) : null,
    shown,
    h("div", { class: "bar" },
      h("button", { type: "button", disabled: cut, onclick: () => copy(asCommand(message)) }, "Copy as mosquitto_pub"),
      h("button", { type: "button", disabled: cut, onclick: () => app.publish(message) }, "Publish again")));
}

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

export function asCommand(message) {
  const words = ["mosquitto_pub", "-h", location.hostname, "-t", quoted(message.topic), "-q", message.qos];
  if (message.retain) words.push("-r");
  const named = { content_type: "content-type", response_topic: "response-topic", message_expiry_interval: "message-expiry-interval",
    payload_format_indicator: "payload-format-indicator" };
  const properties = message.properties ?? {};
  if (Object.keys(properties).length) words.push("-V", "5");
  for (const [key, name] of Object.entries(named)) if (key in properties) words.push("-D", "publish", name, quoted(properties[key]));
  for (const [name, value] of properties.user_properties ?? []) words.push("-D", "publish", "user-property", quoted(name), quoted(value));
  if (message.binary) return `echo ${message.payload} | base64 -d | ${words.join(" ")} -s`;
  words.push(message.size ? "-m" : "-n");
  if (message.size) words.push(quoted(message.payload));
  return words.join(" ");
}
