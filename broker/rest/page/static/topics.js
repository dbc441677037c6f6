// The tree of topics, with last values, rates and a chart of a number.
import { attempt, call } from "./api.js";
import { clock, count, field, h, number, reveal } from "./dom.js";
import { Chart } from "./chart.js";
import { messageDetail } from "./messages.js";
import { figures, preview } from "./payload.js";

const MOST = 20000;
const SHOWN = 300;
const PAGE = 2000;
const PAYLOAD = 16384;
const names = new Intl.Collator("en", { numeric: true });

class Node {
  constructor(name, path) {
    this.name = name;
    this.path = path;
    this.children = new Map();
    this.last = null;
    this.retained = false;
    this.seen = 0;
    this.inside = 0;
    this.rate = 0;
    this.open = false;
    this.values = {};
  }
}

export class Topics {
  title = "Topics";

  constructor(app) {
    this.app = app;
    this.root = new Node("", "");
    this.count = 0;
    this.tree = h("div", { class: "scroll" });
    this.search = h("input", { name: "find", autocomplete: "off", spellcheck: "false", oninput: () => this.draw() });
    this.info = h("p", { class: "note", role: "status" });
    this.detail = h("aside", { class: "box", "aria-label": "The chosen topic" }, h("p", { class: "empty" }, "Choose a topic."));
    this.element = h("div", {}, h("div", { class: "bar" }, field("Topic contains", this.search, { class: "grow" })), this.info,
      h("div", { class: "split" }, h("section", { class: "box", "aria-label": "Topics" }, this.tree), this.detail));
    app.feed.addEventListener("message", (event) => this.add(event.detail));
    setInterval(() => this.tick(), 1000);
  }

  async shown() {
    this.draw();
    for (let page = 1; this.count < MOST; page += 1) {
      const found = await call("GET", `/retained?_page=${page}&_limit=${PAGE}`).catch(() => []);
      for (const message of found) {
        const node = this.node(message.topic);
        if (!node) break;
        node.retained = true;
        node.last ??= { ...message, at: 0, retain: true, client: message.publisher };
      }
      if (found.length < PAGE || !this.app.isShown(this)) break;
    }
    this.draw();
  }

  node(topic) {
    let node = this.root;
    let path = "";
    for (const name of topic.split("/")) {
      path = node === this.root ? name : `${path}/${name}`;
      let child = node.children.get(name);
      if (!child) {
        if (this.count >= MOST) return null;
        this.count += 1;
        child = new Node(name, path);
        node.children.set(name, child);
      }
      node = child;
    }
    return node;
  }

  add(message) {
    const node = this.node(message.topic);
    if (!node) return;
    if (message.retain) node.retained = message.size > 0;
    node.last = message;
    node.seen += 1;
    for (const [path, value] of Object.entries(figures(message))) {
      const values = (node.values[path] ??= []);
      values.push(value);
      if (values.length > 120) values.shift();
    }
    if (node === this.chosen) this.chosenChanged = true;
  }

  tick() {
    const count = (node) => {
      let inside = node.seen;
      for (const child of node.children.values()) inside += count(child);
      node.rate = node.rate * 0.6 + (inside - node.inside) * 0.4;
      node.inside = inside;
      return inside;
    };
    count(this.root);
    if (!this.app.isShown(this)) return;
    this.draw();
    if (this.chosenChanged && !this.detail.contains(document.activeElement)) this.choose(this.chosen);
  }

  draw() {
    const wanted = this.search.value;
    const found = wanted ? this.matching(wanted) : null;
    const some = this.root.children.size > 0;
    const kept = `${count(this.count, "level")}${this.count >= MOST ? " are kept, more are not" : ""}`;
    this.info.textContent = found ? `${count(found.length, "topic")} of ${kept}.` : some ? `${kept}. Retained topics are marked R. Rates are messages a second; under a flood they are those of a sample.` : "";
    const focused = document.activeElement?.dataset?.path;
    const shown = found ? h("ul", { class: "tree top" }, this.items(found, (node) => this.line(node, node.path))) : this.list(this.root, true);
    this.tree.replaceChildren(some && (!found || found.length) ? shown : h("p", { class: "empty" }, found ? "No topic contains that." : "No topic has been seen yet."));
    if (focused !== undefined) this.tree.querySelector(`[data-path="${CSS.escape(focused)}"]`)?.focus();
    const entry = this.tree.querySelector(`[data-path="${CSS.escape(this.entry ?? "")}"]`) ?? this.tree.querySelector("button");
    if (entry) entry.tabIndex = 0; // Tab enters the tree here, and leaves it again
  }

  /** Topics whose name contains `text`; levels without a message of their own are none. */
  matching(text) {
    const found = [];
    const look = (node) => {
      if (node.last && node.path.includes(text)) found.push(node);
      for (const child of node.children.values()) look(child);
    };
    look(this.root);
    return found.sort((a, b) => names.compare(a.path, b.path));
  }

  list(node, top = false) {
    const children = [...node.children.values()].sort((a, b) => names.compare(a.name, b.name));
    return h("ul", { class: top ? "tree top" : "tree" }, this.items(children, (child) => [this.line(child), child.open && child.children.size ? this.list(child) : null]));
  }

  items(nodes, make) {
    const items = nodes.slice(0, SHOWN).map((node) => h("li", {}, make(node)));
    if (nodes.length > SHOWN) items.push(h("li", { class: "note" }, `... ${number(nodes.length - SHOWN)} more; the field above finds them`));
    return items;
  }

  line(node, name = node.name) {
    const branches = name === node.name && node.children.size > 0;
    const press = () => {
      if (branches) node.open = !node.open || (node.last !== null && node !== this.chosen);
      if (node.last) {
        this.choose(node);
        reveal(this.detail);
      }
      this.draw();
    };
    const keys = (event) => {
      if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
        node.open = event.key === "ArrowRight" && branches;
        this.draw();
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        const all = [...this.tree.querySelectorAll("button")];
        all[all.indexOf(event.currentTarget) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
        event.preventDefault();
      }
    };
    return h("button", { type: "button", class: "node", tabindex: "-1", "data-path": node.path, onfocus: () => { this.entry = node.path; }, "aria-expanded": branches ? String(node.open) : null,
      "aria-current": node === this.chosen ? "true" : null, onclick: press, onkeydown: keys },
    h("span", { class: "arrow", "aria-hidden": "true" }, branches ? (node.open ? "\u25be" : "\u25b8") : ""),
    h("span", { class: "name mono" }, name || "(empty level)"),
    node.retained ? h("span", { class: "badge", title: "retained" }, "R") : null,
    h("span", { class: "value mono" }, node.last ? preview(node.last) : `${number(node.children.size)} below`),
    h("span", { class: "rate" }, node.rate >= 0.05 ? `${node.rate.toFixed(1)}/s` : ""));
  }

  choose(node) {
    this.chosen = node;
    this.chosenChanged = false;
    const charts = Object.entries(node.values).filter(([, values]) => values.length > 1).slice(0, 4).map(([path, values]) => {
      const chart = new Chart(path || "value", ["last"], (value) => String(Math.round(value * 1000) / 1000));
      for (const value of values) chart.values[0].push(value);
      chart.latest[0].textContent = `last ${values.at(-1)}`;
      chart.draw();
      return chart.element;
    });
    const known = node.last.at > 0;
    const forget = node.retained ? h("button", { type: "button", class: "danger", onclick: () => this.forget(node) }, "Delete the retained message") : null;
    this.detail.replaceChildren(...charts, messageDetail(node.last, this.app),
      ...(known ? [h("p", { class: "note" }, `${number(node.seen)} seen, the last at ${clock(node.last.at)}`)] : []), ...(forget ? [forget] : []));
    if (!known && !node.whole) this.fetch(node);
  }

  /** The list of retained messages has only the beginning of a payload. */
  async fetch(node) {
    node.whole = true;
    const message = await call("GET", `/retained/${encodeURIComponent(node.path)}?limit=${PAYLOAD}`).catch(() => null);
    if (!message || node.last.at > 0) return;
    node.last = { ...node.last, ...message };
    if (node === this.chosen) this.choose(node);
  }

  async forget(node) {
    if ((await attempt("DELETE", `/retained/${encodeURIComponent(node.path)}`)) === undefined) return;
    node.retained = false;
    this.choose(node);
    this.draw();
  }
}
