// The whole broker in numbers.
import { attempt } from "./api.js";
import { ago, bytes, h, number } from "./dom.js";
import { Chart } from "./chart.js";

export class Overview {
  title = "Overview";

  constructor(app) {
    this.app = app;
    this.tiles = h("dl", { class: "tiles" });
    this.messages = new Chart("Messages a second", ["in", "out"]);
    this.traffic = new Chart("Bytes a second", ["in", "out"], bytes);
    this.load = new Chart("CPU", ["% of a core"], (value) => value.toFixed(0));
    this.memory = new Chart("Memory", ["used"], bytes);
    this.drops = h("div");
    this.nodes = h("div", { class: "nodes" });
    this.element = h("div", {}, this.tiles, this.nodes, h("div", { class: "charts" }, [this.messages, this.traffic, this.load, this.memory].map((chart) => chart.element)), this.drops);
    app.every(1000, () => this.look());
  }

  async look() {
    const now = await this.app.call("GET", "/overview").catch(() => null);
    if (!now) return;
    const before = this.before;
    this.before = now;
    if (before && now.at > before.at) {
      const rate = (key) => Math.max(0, (now[key] - before[key]) / (now.at - before.at));
      this.messages.add(rate("messages_received"), rate("messages_sent"));
      this.traffic.add(rate("bytes_received"), rate("bytes_sent"));
      this.load.add(rate("cpu_seconds") * 100);
      this.memory.add(now.memory_bytes);
    }
    if (!this.app.isShown(this)) return;
    this.draw(now);
    const nodes = await this.app.call("GET", "/nodes").catch(() => []);
    if (nodes.length > 1) this.drawNodes(nodes);
  }

  /** The processes of a broker of several, with their rates since the last look. */
  drawNodes(nodes) {
    const before = this.nodesBefore ?? new Map();
    const rate = (one, key) => {
      const [earlier, later] = before.get(one.name) ?? [];
      const seconds = later ? later.at - earlier.at : 0;
      return one.answers && seconds > 0 ? number(Math.max(0, (later[key] - earlier[key]) / seconds)) : "";
    };
    this.nodesBefore = new Map(nodes.map((one) => {
      const [earlier, later] = before.get(one.name) ?? [one, one];
      return [one.name, one.at > later.at ? [later, one] : [earlier, later]]; // each tells its numbers once a second
    }));
    const cell = (value) => h("td", { class: "number" }, value === undefined ? "" : number(value));
    const rows = nodes.map((one) => h("tr", {}, h("th", { scope: "row" }, one.name),
      h("td", {}, one.answers ? h("span", { class: "badge good" }, "up") : h("span", { class: "badge bad" }, `no answer for ${number(one.silent_for)} s`)),
      h("td", {}, one.up_since ? ago(one.up_since) : ""), cell(one.clients), cell(one.sessions), cell(one.subscriptions), cell(one.retained), cell(one.queued),
      h("td", { class: "number" }, rate(one, "messages_received")), h("td", { class: "number" }, rate(one, "messages_sent")),
      h("td", { class: "number" }, bytes(one.waiting_bytes)), h("td", { class: "number" }, one.memory_bytes ? bytes(one.memory_bytes) : "")));
    const heads = ["node", "state", "since", "clients", "sessions", "subscriptions", "retained", "queued", "in a second", "out a second", "waits for it", "memory"];
    this.nodes.replaceChildren(h("section", { class: "box", "aria-label": "Nodes" }, h("h2", {}, "Nodes"), h("div", { class: "scroll", tabindex: "0" },
      h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows)))));
  }

  draw(now) {
    const tile = (name, value, more = "") => h("div", { class: "tile box" }, h("dt", {}, name), h("dd", {}, value, " ", h("small", {}, more)));
    this.tiles.replaceChildren(
      tile("Clients", number(now.clients), `most ${number(now.clients_maximum)}`), tile("Sessions", number(now.sessions)),
      tile("Subscriptions", number(now.subscriptions)), tile("Retained", number(now.retained)),
      tile("In flight", number(now.inflight)), tile("Queued", number(now.queued)),
      tile("Messages in", number(now.messages_received)), tile("Messages out", number(now.messages_sent)));
    const groups = [["Messages dropped", now.dropped], ["Connections refused", now.refused], ["Limits that took effect", now.limited]];
    this.drops.replaceChildren(...groups.filter(([, counts]) => Object.keys(counts).length).map(([name, counts]) => h("section", {}, h("h3", {}, name),
      h("table", {}, h("tbody", {}, Object.entries(counts).map(([reason, count]) => h("tr", {}, h("td", {}, reason.replaceAll("_", " ")), h("td", { class: "number" }, number(count)))))))));
  }
}
