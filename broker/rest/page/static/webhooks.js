// The endpoints of webhooks, and their dead letters.
import { attempt, call } from "./api.js";
import { bytes, clock, facts, h, number, toast } from "./dom.js";
import { tree } from "./payload.js";

const BOUNDS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000];
const STATES = { ready: "good", failing: "warn", disabled: "bad", stopped: "bad" };

function quantile(one, part) {
  let seen = 0;
  for (let index = 0; index < BOUNDS.length; index += 1) {
    seen += one.response_buckets[index];
    if (seen >= part * one.response_count) return `at most ${BOUNDS[index]} ms`;
  }
  return "above 10 s";
}

export class Webhooks {
  title = "Webhooks";

  constructor(app) {
    this.app = app;
    this.cards = new Map();
    this.nothing = h("p", { class: "empty" }, "No webhook is configured. A section webhook { } in the configuration adds one.");
    this.list = h("div");
    this.element = h("div", {}, this.nothing, this.list);
    app.every(1000, () => this.shown(), this);
  }

  async shown() {
    const found = await attempt("GET", "/webhooks");
    if (!found) return;
    this.nothing.hidden = found.length > 0;
    const names = new Set(found.map((one) => one.name));
    for (const [name, card] of this.cards) {
      if (!names.has(name)) {
        card.element.remove();
        this.cards.delete(name);
      }
    }
    for (const one of found) {
      let card = this.cards.get(one.name);
      if (!card) {
        card = this.card(one);
        this.cards.set(one.name, card);
        this.list.append(card.element);
      }
      card.update(one);
    }
  }

  card({ name }) {
    const state = h("span", { class: "badge" });
    const table = h("div");
    const dead = h("div");
    const button = h("button", { type: "button", onclick: () => this.deadLetters(name, dead) }, "Show dead letters");
    const element = h("section", { class: "box", "aria-label": `Webhook ${name}` }, h("h2", {}, `${name} `, state), table, h("div", { class: "bar" }, button), dead);
    const update = (one) => {
      state.textContent = one.state;
      state.className = `badge ${STATES[one.state] ?? ""}`;
      const dropped = one.dropped_full + one.dropped_expired + one.dropped_filtered;
      table.replaceChildren(facts([["sent to", one.url], ["events", `${number(one.matched)} matched = ${number(one.succeeded)} delivered + ${number(one.dead)} given up + ` +
          `${number(one.in_flight)} in flight + ${number(one.queued)} waiting + ${number(dropped)} dropped`],
        ["tries", `${number(one.tries)}, of them ${number(one.retries)} retries`],
        ["response time", one.response_count ? `half ${quantile(one, 0.5)}, 99 % ${quantile(one, 0.99)}` : ""],
        ["waiting", `${bytes(one.queued_bytes)} in memory, ${bytes(one.spooled_bytes)} on disk, the oldest for ${one.oldest_age.toFixed(1)} s`],
        ["dead letters", number(one.dead_letters)]]));
      button.hidden = !one.dead_letters && !dead.childElementCount;
    };
    return { element, update };
  }

  async deadLetters(name, box) {
    const path = `/webhooks/${encodeURIComponent(name)}/dead`;
    const found = await attempt("GET", path);
    if (!found) return;
    if (!found.length) {
      box.replaceChildren(h("p", { class: "note" }, "There are no dead letters."));
      return;
    }
    const again = () => this.deadLetters(name, box);
    const retry = async (query, button) => {
      button.disabled = true;
      try {
        const result = await call("POST", `${path}/retry${query}`);
        toast(`${number(result.delivered)} delivered, ${number(result.failed)} failed.`);
      } catch (error) {
        toast(error.message);
      }
      again();
    };
    const rows = found.map((letter) => h("tr", {}, h("td", { class: "number" }, String(letter.number)), h("td", {}, clock(letter.died_at)), h("td", {}, letter.event),
      h("td", { class: "mono" }, letter.topic ?? letter.client),
      h("td", {}, letter.why, letter.answer ? h("details", {}, h("summary", {}, "answer"), h("pre", {}, letter.answer)) : null),
      h("td", {}, h("details", {}, h("summary", {}, "body"), tree(letter.body))),
      h("td", {}, h("button", { type: "button", class: "small", onclick: (event) => retry(`?number=${letter.number}`, event.currentTarget) }, "Retry"))));
    const heads = ["number", "died", "event", "topic or client", "why", "body", "action"].map((head) => h("th", { scope: "col" }, head));
    const purge = async () => {
      if (!window.confirm(`Throw away all dead letters of ${name}?`)) return;
      await attempt("DELETE", `${path}?all=true`);
      again();
    };
    box.replaceChildren(h("div", { class: "bar" }, h("button", { type: "button", class: "main", onclick: (event) => retry("", event.currentTarget) }, "Retry all"),
      h("button", { type: "button", class: "danger", onclick: purge }, "Throw all away")),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))));
  }
}
