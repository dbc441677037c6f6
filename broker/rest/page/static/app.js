// The page: its views, and what they have in common.
import { call } from "./api.js";
import { h } from "./dom.js";
import { Feed } from "./feed.js";
import { Bridges } from "./bridges.js";
import { Clients } from "./clients.js";
import { Faults } from "./faults.js";
import { Messages } from "./messages.js";
import { Overview } from "./overview.js";
import { Publish } from "./publish.js";
import { Topics } from "./topics.js";
import { Webhooks } from "./webhooks.js";

/** A view has a title, an element and, where it asks for something, shown(). Its name stands in the address. */
const VIEWS = { messages: Messages, topics: Topics, clients: Clients, webhooks: Webhooks, bridges: Bridges, publish: Publish, faults: Faults, overview: Overview };

class App {
  constructor() {
    this.call = call;
    this.feed = new Feed();
    this.main = document.getElementById("main");
    this.status = document.getElementById("status");
    this.views = new Map(Object.entries(VIEWS).map(([name, View]) => [name, new View(this)]));
    this.tabs();
    this.theme();
    this.feed.addEventListener("state", (event) => this.tell(event.detail));
    window.addEventListener("hashchange", () => this.show(this.named()));
    this.show(this.named());
    this.feed.watch();
  }

  named() {
    const name = location.hash.slice(1);
    return this.views.has(name) ? name : "messages";
  }

  isShown(view) {
    return view === this.current && document.visibilityState === "visible";
  }

  /** Call `work` at this interval, for a `view` only while it is shown; never twice at a time. */
  every(milliseconds, work, view = null) {
    let busy = false;
    setInterval(async () => {
      if (busy || document.visibilityState !== "visible" || (view && view !== this.current)) return;
      busy = true;
      try {
        await work();
      } finally {
        busy = false;
      }
    }, milliseconds);
  }

  tabs() {
    const list = document.getElementById("tabs");
    for (const [name, view] of this.views) {
      view.element.id = `view-${name}`;
      view.element.setAttribute("role", "tabpanel");
      view.element.setAttribute("aria-labelledby", `tab-${name}`);
      list.append(h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": view.element.id, onclick: () => { location.hash = name; } }, view.title));
    }
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const all = [...list.children];
      const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
      next.focus();
      next.click();
    });
  }

  show(name) {
    this.current = this.views.get(name);
    for (const tab of document.querySelectorAll('[role="tab"]')) {
      const chosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.main.replaceChildren(this.current.element);
    document.title = `${this.current.title} - pybroker`;
    this.current.shown?.();
  }

  publish(message) {
    this.views.get("publish").fill(message);
    location.hash = "publish";
  }

  messagesOf(client) {
    const messages = this.views.get("messages");
    messages.filters[1].value = client;
    messages.filter();
    location.hash = "messages";
  }

  tell(state) {
    const words = { live: "live", lost: "connection lost, trying again", refused: "the broker refuses the stream, trying again" };
    this.status.textContent = words[state];
    this.status.className = `status ${state === "live" ? "good" : "bad"}`;
    this.main.classList.toggle("stale", state !== "live");
    if (state === "live") this.current.shown?.();
  }

  theme() {
    const root = document.documentElement;
    const kept = localStorage.getItem("theme");
    if (kept) root.dataset.theme = kept;
    document.getElementById("theme").addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    });
  }
}

new App();
