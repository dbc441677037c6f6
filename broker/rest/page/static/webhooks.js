// The endpoints of webhooks and event pushers, and their dead letters.
import { attempt, call, poll } from "./api.js";
import { Cards } from "./cards.js";
import { Deliveries } from "./deliveries.js";
import { bytes, clock, facts, h, number, toast } from "./dom.js";
import { tree } from "./payload.js";

const BOUNDS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000];
const STATES = { ready: "good", failing: "warn", disabled: "bad", stopped: "bad" };

const WORDS = { failing: "it fails; one event at a time is tried until it answers again", disabled: "it answered 410: nothing is sent to it until a reload", stopped: "nothing is sent" };
const SECTIONS = { webhook: "webhook", event_pusher: "event pusher" };

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
    this.cards = new Cards("No webhook and no event pusher is configured. A section webhook { } or event_pusher.NAME { } in the configuration adds one.", (one) => this.card(one));
    this.element = this.cards.element;
    app.every(1000, () => this.shown(), this);
  }

  async shown() {
    const found = await poll("/webhooks");
    if (found) this.cards.show(found);
  }

  card({ name, section }) {
    const state = h("span", { class: "badge" });
    const table = h("div");
    const dead = h("div", { class: "dead" });
    const deliveries = new Deliveries(this.app, name);
    const last = h("button", { type: "button", "aria-expanded": "false", onclick: () => {
      deliveries.show(!deliveries.shown);
      last.setAttribute("aria-expanded", String(deliveries.shown));
    } }, "Last deliveries");
    const button = h("button", { type: "button", onclick: () => this.deadLetters(name, dead) }, "Show dead letters");
    const element = h("section", { class: "box", "aria-label": `${SECTIONS[section] ?? section} ${name}` },
      h("h2", {}, `${name} `, state, h("span", { class: "note" }, ` ${SECTIONS[section] ?? section}`)), table, h("div", { class: "bar dead" }, last, button), deliveries.element, dead);
    const update = (one) => {
      state.textContent = one.state;
      state.className = `badge ${STATES[one.state] ?? ""}`;
      const dropped = [["full", "the queue was full"], ["expired", "too old"], ["filtered", "filtered"]].filter(([key]) => one[`dropped_${key}`]);
      table.replaceChildren(facts([["sent to", one.url], ["state", WORDS[one.state]], ["last failure", one.last_failure],
        ["events", `${number(one.matched)} matched = ${number(one.succeeded)} delivered + ${number(one.dead)} given up + ` +
          `${number(one.in_flight)} in flight + ${number(one.queued)} waiting + ${number(one.dropped_full + one.dropped_expired + one.dropped_filtered)} dropped`],
        ["dropped", dropped.map(([key, words]) => `${number(one[`dropped_${key}`])} ${words}`).join(", ")],
        ["tries", one.tries ? `${number(one.tries)}, of them ${number(one.retries)} retries` : ""],
        ["response time", one.response_count ? `half ${quantile(one, 0.5)}, 99 % ${quantile(one, 0.99)}` : ""],
        ["waiting", one.queued || one.spooled_bytes ? `${bytes(one.queued_bytes)} in memory, ${bytes(one.spooled_bytes)} on disk, the oldest for ${one.oldest_age.toFixed(1)} s` : ""],
        ["dead letters", one.dead_letters ? number(one.dead_letters) : ""]]));
      button.hidden = !one.dead_letters && !dead.childElementCount;
      if (deliveries.shown) deliveries.look();
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
    const rows = found.map((letter) => h("tr", {}, h("td", { class: "number" }, letter.worker ? `${letter.worker}: ${letter.number}` : String(letter.number)), h("td", {}, clock(letter.died_at)), h("td", {}, letter.event),
      h("td", { class: "mono" }, letter.topic ?? letter.client),
      h("td", {}, letter.why, letter.answer ? h("details", {}, h("summary", {}, "answer"), h("pre", {}, letter.answer)) : null),
      h("td", {}, h("details", {}, h("summary", {}, "body"), tree(letter.body))),
      h("td", {}, h("button", { type: "button", class: "small", onclick: (event) => retry(`?number=${letter.number}${letter.worker ? `&worker=${letter.worker}` : ""}`, event.currentTarget) }, "Retry"))));
    const heads = [found[0].worker ? "worker: number" : "number", "died", "event", "topic or client", "why", "body", "action"].map((head) => h("th", { scope: "col" }, head));
    const purge = async () => {
      if (!window.confirm(`Throw away all dead letters of ${name}?`)) return;
      await attempt("DELETE", `${path}?all=true`);
      again();
    };
    box.replaceChildren(h("h3", {}, "Dead letters"), h("div", { class: "bar" }, h("button", { type: "button", class: "main", onclick: (event) => retry("", event.currentTarget) }, "Retry all"),
      h("button", { type: "button", class: "danger", onclick: purge }, "Throw all away")),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))));
  }
}
