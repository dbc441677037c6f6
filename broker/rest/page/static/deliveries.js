// The last deliveries of one endpoint, each with request and answer, while they are shown.
import { bytes, clock, facts, h, number } from "./dom.js";
import { views } from "./payload.js";

const KEPT = 50;
const MARKS = { delivered: ["good", "delivered"], retry: ["warn", "failed"], dead: ["bad", "given up"], disable: ["bad", "wants no more"] };

export class Deliveries {
  constructor(app, name) {
    this.app = app;
    this.name = name;
    this.last = []; // the number of the last one, of each worker
    this.note = h("p", { class: "note" });
    this.rows = h("ul", { class: "rows" });
    this.element = h("section", { "aria-label": `Last deliveries of ${name}`, hidden: true }, h("h3", {}, "Last deliveries"), this.note, this.rows);
  }

  get shown() {
    return !this.element.hidden;
  }

  show(on) {
    this.element.hidden = !on;
    if (on) this.look();
  }

  async look() {
    let found;
    try {
      found = await this.app.call("GET", `/webhooks/${encodeURIComponent(this.name)}/deliveries${this.last.length ? `?after=${Array.from(this.last, (one) => one ?? 0)}` : ""}`);
    } catch (error) {
      this.note.textContent = error.message;
      return;
    }
    const at = (one) => (one.worker ?? 1) - 1;
    const fresh = found.filter((one) => one.number > (this.last[at(one)] ?? 0));
    if (fresh.length) {
      for (const one of fresh) this.last[at(one)] = Math.max(one.number, this.last[at(one)] ?? 0);
      this.rows.prepend(...fresh.reverse().map((one) => this.row(one)));
      while (this.rows.childElementCount > KEPT) this.rows.lastElementChild.remove();
    }
    this.note.textContent = this.rows.childElementCount ? "" : "None yet. While this is open, every delivery is shown; of those before, only failures are kept.";
  }

  row(one) {
    const [kind, words] = MARKS[one.verdict];
    const more = one.events > 1 ? ` and ${number(one.events - 1)} more` : "";
    return h("li", {}, h("details", { class: "delivery" },
      h("summary", {}, h("span", { class: "mono time" }, clock(one.at)), h("span", { class: `badge ${kind}` }, words),
        h("span", { class: "mono what" }, `${one.event} ${one.topic ?? one.client}${more}`), h("span", { class: "why" }, `${one.why}, ${duration(one.seconds)}`)),
      h("div", { class: "exchange" },
        facts([["event", one.id], ["client", one.client], ["worker", one.worker && String(one.worker)], ["try", String(one.try)], ["why", one.why]]),
        h("h4", {}, "Request"), headers(one.request.headers), body(one.request, one.events > 1 ? "The first event:" : ""),
        h("h4", {}, one.status === null ? "Answer" : `Answer ${one.status}`), h("pre", {}, one.answer || (one.status === null ? "(none)" : "(empty)")))));
  }
}

export const duration = (seconds) => (seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`);

const headers = (pairs) => h("pre", { class: "quiet" }, pairs.map(([name, value]) => `${name}: ${value}\n`));

/** A body in the best of its forms. */
function body(request, words) {
  const message = { payload: request.body, binary: request.binary, size: request.size };
  const shown = new TextEncoder().encode(request.body).length;
  const cut = !request.binary && shown < request.size;
  return [words ? h("p", { class: "note" }, words) : null, cut ? h("p", { class: "note warn" }, `Only the first ${bytes(shown)} of ${bytes(request.size)} are shown.`) : null, views(message)[0][1]()];
}
