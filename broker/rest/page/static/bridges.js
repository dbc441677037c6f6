// The bridges to other brokers: how each is, what it maps, and its switch.
import { attempt, poll } from "./api.js";
import { Cards } from "./cards.js";
import { ago, bytes, count, facts, h, number, toast } from "./dom.js";

const STATES = { connected: "good", connecting: "warn", disconnected: "bad", disabled: "" };
const REASONS = {
  loop: "had been here", echo: "came back", hop_limit: "passed too many bridges", topic: "have no topic there",
  not_subscribed: "were not asked for", packet_too_large: "too large", refused: "refused there", window_full: "too many in flight",
  closes_link: "closed the link",
};

export class Bridges {
  title = "Bridges";

  constructor(app) {
    this.cards = new Cards("No bridge is configured. A section bridges.mqtt.NAME { } in the configuration adds one.", (one) => this.card(one));
    this.element = this.cards.element;
    app.every(1000, () => this.shown(), this);
  }

  async shown() {
    const found = (await poll("/bridges"))?.bridge.nodes;
    if (found) this.cards.show(found);
  }

  card({ name }) {
    const state = h("span", { class: "badge" });
    const table = h("div");
    const toggle = h("button", { type: "button", onclick: async () => {
      const on = toggle.dataset.on === "true";
      const done = await attempt("POST", `/bridges/switch/${encodeURIComponent(name)}`, { data: { bridge_switch: !on } });
      if (done) toast(on ? "Switched off: what is published waits." : "Switched on.");
      this.shown();
    } });
    const element = h("section", { class: "box", "aria-label": `bridge ${name}` }, h("h2", {}, `${name} `, state), table, h("div", { class: "bar" }, toggle));
    const update = ({ connector, forwards, subscription, status }) => {
      const { counters } = status;
      state.textContent = status.state;
      state.className = `badge ${STATES[status.state] ?? ""}`;
      toggle.dataset.on = String(status.state !== "disabled");
      toggle.textContent = status.state === "disabled" ? "Switch on" : "Switch off";
      const wait = status.next_try === null ? 0 : status.next_try - Date.now() / 1000;
      table.replaceChildren(facts([["server", status.server || connector.server], ["client identifier", connector.clientid],
        ["since", ago(status.since)], ["last error", status.last_error], ["next try", wait > 0 ? `in ${wait.toFixed(1)} s` : ""],
        ["waiting", `${count(status.queued, "message")} not acknowledged there`],
        ["sent", `${count(counters.sent, "message")}, ${bytes(counters.bytes_sent)}`],
        ["received", `${count(counters.received, "message")}, ${bytes(counters.bytes_received)}`],
        ["links", `${number(counters.connects)} made`],
        ["not passed on", Object.entries(counters.dropped).map(([reason, many]) => `${number(many)} ${REASONS[reason] ?? reason}`).join(", ")],
        ["to the server", forwards.map(mapped).join("; ")], ["from the server", subscription.map((one) => mapped(one, true)).join("; ")]]));
    };
    return { element, update };
  }
}

function mapped(one, back = false) {
  const [from, to] = back === true ? [one.remote_topic, one.local_topic] : [one.local_topic, one.remote_topic];
  const target = `${one.prefix ?? ""}${to || "the same topic"}${one.suffix ?? ""}`;
  return `${from} as ${target}`;
}
