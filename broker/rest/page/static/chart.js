// A small line chart of the last values.
import { h, svg, number } from "./dom.js";

export class Chart {
  /** `lines` are names, at most two. `format` makes text of a value. */
  constructor(title, lines, format = number, length = 120) {
    this.values = lines.map(() => []);
    this.format = format;
    this.length = length;
    this.drawing = svg("svg", { class: "chart", viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": title });
    this.latest = lines.map((name, index) => h("span", { class: `key ${["one", "two"][index]}` }, name));
    this.names = lines;
    this.title = title;
    this.element = h("figure", { class: "box" }, h("figcaption", {}, h("strong", {}, title), this.latest), this.drawing);
  }

  add(...values) {
    values.forEach((value, index) => {
      this.values[index].push(value);
      if (this.values[index].length > this.length) this.values[index].shift();
      this.latest[index].textContent = `${this.names[index]} ${this.format(value)}`;
    });
    this.draw();
  }

  draw() {
    const all = this.values.flat();
    const top = Math.max(...all, 0.000001);
    const bottom = Math.min(...all, 0);
    const y = (value) => (38 - ((value - bottom) / (top - bottom)) * 36).toFixed(2);
    const x = (index, count) => (100 - ((count - 1 - index) / Math.max(this.length - 1, 1)) * 100).toFixed(2);
    const axis = svg("line", { class: "axis", x1: 0, x2: 100, y1: y(0), y2: y(0) });
    const lines = this.values.map((values, index) => svg("polyline", {
      class: ["one", "two"][index],
      points: values.map((value, place) => `${x(place, values.length)},${y(value)}`).join(" "),
    }));
    this.drawing.replaceChildren(axis, ...lines);
    this.drawing.setAttribute("aria-label", `${this.title}, highest ${this.format(top)}`);
  }
}
