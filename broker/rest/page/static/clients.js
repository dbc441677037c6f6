// Who is connected, and who has a session.
import { attempt, poll } from "./api.js";
import { ago, bytes, count, facts, field, h, number, reveal, toast } from "./dom.js";
import { Packets } from "./packets.js";

const VERSIONS = { 3: "3.1", 4: "3.1.1", 5: "5.0" };

export class Clients {
  title = "Clients";

  constructor(app) {
    this.app = app;
    this.packets = new Packets(app);
    this.search = h("input", { name: "client", autocomplete: "off", spellcheck: "false", placeholder: "client identifier" });
    this.body = h("tbody");
    this.info = h("p", { class: "note", role: "status" });
    const heads = [["client", ""], ["user", "wide-only"], ["from", "wide-only"], ["connected", "wide-only"], ["filters", "number"], ["in flight", "number"], ["queued", "number"]];
    this.detail = h("aside", { class: "box", "aria-label": "The chosen client" }, h("p", { class: "empty" }, "Choose a client."));
    this.facts = h("div");
    this.buttons = h("div", { class: "bar" }, h("button", { type: "button", onclick: () => this.app.messagesOf(this.chosen) }, "Watch its messages"),
      h("button", { type: "button", class: "danger", id: "kick", onclick: () => this.kick(this.chosen) }, "Disconnect and end the session"));
    this.element = h("div", {},
      h("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); this.choose(this.search.value); } },
        field("Find a client", this.search, { class: "grow" }), h("button", { type: "submit" }, "Show")),
      this.info,
      h("div", { class: "split" },
        this.box = h("section", { class: "box scroll", "aria-label": "Clients" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map(([name, kind]) => h("th", { class: kind, scope: "col" }, name)))), this.body)),
        this.detail));
    app.every(1000, () => this.shown(), this);
  }

  async shown() {
    const found = await poll("/overview/clients");
    if (!found) return;
    const focused = document.activeElement?.dataset?.client;
    this.body.replaceChildren(...found.map((one) => this.row(one)));
    if (focused !== undefined) this.body.querySelector(`[data-client="${CSS.escape(focused)}"]`)?.focus();
    const all = this.app.views.get("overview").before?.sessions ?? 0;
    const many = all > found.length ? `${number(found.length)} of ${count(all, "client")}` : count(found.length, "client");
    this.info.textContent = found.length ? `${many}${found.length > 1 ? ", those with most messages waiting first" : ""}` : "No client is connected, and none has a session.";
    this.box.hidden = !found.length;
    this.refresh();
  }

  row(one) {
    const from = one.connected ? one.peer || one.listener : "away";
    return h("tr", {},
      h("td", {}, h("button", { type: "button", class: "link mono", "data-client": one.client, onclick: () => this.choose(one.client) }, one.client)),
      h("td", { class: "wide-only" }, one.username ?? ""), h("td", { class: "wide-only" }, from),
      h("td", { class: "wide-only" }, one.connected ? ago(one.connected_at) : ""),
      [one.subscriptions, one.inflight, one.queued].map((value) => h("td", { class: "number" }, number(value))));
  }

  choose(client) {
    if (!client) return;
    this.chosen = client;
    this.gone = false;
    this.told = "";
    this.packets.of(client);
    this.facts.replaceChildren(h("h2", { class: "mono" }, client));
    this.buttons.hidden = true;
    this.detail.replaceChildren(this.facts, this.buttons, this.packets.element);
    reveal(this.detail);
    this.refresh();
  }

  /** What is known of the chosen client. One that is not there is not asked for again until a packet comes. */
  async refresh() {
    const client = this.chosen;
    if (client === undefined) return;
    const news = await this.packets.look();
    if (this.gone && !news) return;
    const one = await this.app.call("GET", `/clients/${encodeURIComponent(client)}/details`).catch((error) => error);
    if (client !== this.chosen) return;
    this.gone = one instanceof Error;
    this.buttons.hidden = this.gone;
    if (this.gone) {
      this.told = "";
      this.facts.replaceChildren(h("h2", { class: "mono" }, client), h("p", { class: "empty" }, one.message));
      return;
    }
    const now = JSON.stringify(one) + (one.connected ? ago(one.connected_at) + ago(one.heard_at) : "");
    if (now === this.told) return; // so that selected text stays selected
    this.told = now;
    const filters = one.filters.slice(0, 100).map((filter) => h("li", { class: "mono" }, `${filter.topic}  (QoS ${filter.qos})`));
    if (one.filters.length > 100) filters.push(h("li", {}, `... ${number(one.filters.length - 100)} more`));
    const expiry = one.expiry === null ? "never" : one.expiry ? `${number(one.expiry)} s after the connection ends` : "with the connection";
    this.facts.replaceChildren(
      h("h2", { class: "mono" }, one.client),
      h("p", {}, h("span", { class: `badge ${one.connected ? "good" : "warn"}` }, one.connected ? "connected" : "away")),
      facts([["user", one.username], ["from", one.peer], ["connected", one.connected ? ago(one.connected_at) : ""], ["last heard", one.connected ? ago(one.heard_at) : ""], ["listener", one.listener], ["MQTT", VERSIONS[one.version]], ["keep alive", one.keepalive ? `${one.keepalive} s` : "off"],
        ["in flight", number(one.inflight)], ["queued", `${number(one.queued)}, ${bytes(one.queued_bytes)}`], ["session ends", expiry], ["will", one.will_topic]]),
      h("h3", {}, `Subscriptions (${number(one.filters.length)})`), h("ul", {}, filters));
  }

  async kick(client) {
    if (!window.confirm(`Disconnect ${client} and forget its session?`)) return;
    if ((await attempt("DELETE", `/clients/${encodeURIComponent(client)}`)) === undefined) return;
    toast(`${client} is disconnected.`);
    this.shown();
  }
}
