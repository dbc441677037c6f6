// The whole broker in numbers.
import { attempt } from "./api.js";
import { bytes, h, number } from "./dom.js";
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
    this.element = h("div", {}, this.tiles, h("div", { class: "charts" }, [this.messages, this.traffic, this.load, this.memory].map((chart) => chart.element)), this.drops);
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
    if (this.app.isShown(this)) this.draw(now);
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
