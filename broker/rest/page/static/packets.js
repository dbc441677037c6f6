// The last packets of one client, while it is shown.
import { h, millis } from "./dom.js";

const KEPT = 100;
const ARROWS = { in: ["\u2192", "from the client"], out: ["\u2190", "to the client"], "": ["", ""] };

export class Packets {
  constructor(app) {
    this.app = app;
    this.rows = h("tbody");
    this.note = h("p", { class: "note" });
    this.table = h("div", { class: "scroll packets" }, h("table", {}, h("thead", {}, h("tr", {}, ["time", "", "packet", "says"].map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "direction"))))), this.rows));
    this.element = h("section", { "aria-label": "Last packets" }, h("h3", {}, "Last packets"), this.note, this.table);
  }

  /** Show those of this client from now on. */
  of(client) {
    this.client = client;
    this.last = 0;
    this.rows.replaceChildren();
    this.table.hidden = true;
    this.note.textContent = "";
  }

  /** Ask for what is new; whether there was anything. */
  async look() {
    const client = this.client;
    let found;
    try {
      found = await this.app.call("GET", `/clients/${encodeURIComponent(client)}/packets${this.last ? `?after=${this.last}` : ""}`);
    } catch (error) {
      this.note.textContent = error.message;
      return false;
    }
    if (client !== this.client) return false;
    found = found.filter((packet) => packet.number > this.last);
    if (found.length) {
      for (const packet of found) {
        if (this.last && packet.number > this.last + 1) this.rows.prepend(h("tr", {}, h("td", { colspan: "4", class: "note warn" }, "Packets are left out: they come faster than they can be shown.")));
        this.last = packet.number;
        this.rows.prepend(this.row(packet));
      }
      while (this.rows.childElementCount > KEPT) this.rows.lastElementChild.remove();
    }
    this.table.hidden = !this.rows.childElementCount;
    this.note.textContent = this.table.hidden ? "Nothing has come or gone since you chose this client." : "";
    return found.length > 0;
  }

  row(packet) {
    const [arrow, words] = ARROWS[packet.direction];
    return h("tr", { class: packet.type === "CLOSED" ? "closed" : "" }, h("td", { class: "mono" }, millis(packet.at)),
      h("td", {}, h("span", { "aria-hidden": "true" }, arrow), h("span", { class: "unseen" }, words)),
      h("td", { class: "mono" }, packet.type),
      h("td", { class: "mono wide" }, packet.says, packet.properties ? h("div", { class: "note mono" }, packet.properties) : null));
  }
}
