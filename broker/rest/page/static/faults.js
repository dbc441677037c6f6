// What goes wrong on purpose.
import { attempt, call, poll } from "./api.js";
import { field, h, number } from "./dom.js";

const NUMBERS = new Set(["seconds", "jitter", "rate", "after_bytes", "nth", "times", "count", "probability", "seed", "byte"]);

export class Faults {
  title = "Faults";

  constructor(app) {
    this.app = app;
    this.element = h("div", {}, h("p", { class: "empty" }, "..."));
    app.every(2000, () => this.shown(), this);
  }

  async shown() {
    this.ready ??= this.prepare(); // once, whoever else asks meanwhile
    if (!(await this.ready)) return;
    const found = await poll("/faults");
    if (found) this.draw(found);
  }

  /** Whether there are faults to choose from. Where the broker does not answer it is asked again later. */
  async prepare() {
    try {
      this.actions = await call("GET", "/faults/actions");
    } catch (error) {
      const off = error.status === 404;
      this.element.replaceChildren(h("p", { class: "empty" }, off ? "Faults are off. With a section faults { } in the configuration, packets can be dropped, delayed or changed here, for tests." : error.message));
      if (!off) this.ready = undefined;
      return false;
    }
    this.build();
    return true;
  }

  build() {
    this.action = h("select", { name: "action", onchange: () => this.choose() }, Object.keys(this.actions).filter((action) => action !== "restart").map((action) => h("option", { value: action }, action)));
    this.fields = h("div", { class: "form" });
    this.body = h("tbody");
    const heads = ["fault", "struck", "action"].map((head) => h("th", { scope: "col" }, head));
    this.element.replaceChildren(
      h("form", { class: "box", onsubmit: (event) => { event.preventDefault(); this.add(); } }, h("h2", {}, "Let something go wrong"), field("Action", this.action), this.fields,
        h("div", { class: "bar" }, h("button", { type: "submit", class: "main" }, "Put in force"))),
      h("section", { class: "box", "aria-label": "Faults in force" }, h("h2", {}, "In force"), h("table", {}, h("thead", {}, h("tr", {}, heads)), this.body),
        h("div", { class: "bar" }, h("button", { type: "button", onclick: async () => { await attempt("DELETE", "/faults"); this.shown(); } }, "Lift all"))));
    this.choose();
  }

  choose() {
    const { needed, possible, aims } = this.actions[this.action.value];
    const input = (name, required) => field(required ? `${name} (needed)` : name, h("input", { name, required, autocomplete: "off" }));
    this.fields.replaceChildren(...needed.map((name) => input(name, true)), ...[...possible, ...aims].map((name) => input(name, false)));
  }

  async add() {
    const fault = { action: this.action.value };
    for (const input of this.fields.querySelectorAll("input")) {
      if (input.value) fault[input.name] = NUMBERS.has(input.name) ? Number(input.value) : input.value;
    }
    if (await attempt("POST", "/faults", fault)) this.shown();
  }

  draw(found) {
    const rows = found.map((fault) => h("tr", {}, h("td", { class: "mono" }, fault.text), h("td", { class: "number" }, number(fault.struck)),
      h("td", {}, h("button", { type: "button", class: "small", onclick: async () => { await attempt("DELETE", `/faults/${fault.number}`); this.shown(); } }, "Lift"))));
    this.body.replaceChildren(...(rows.length ? rows : [h("tr", {}, h("td", { class: "note", colspan: 3 }, "Nothing goes wrong on purpose."))]));
  }
}
