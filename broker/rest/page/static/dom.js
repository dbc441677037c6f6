// Elements are made of text and attributes alone: nothing that a device sent is ever read as HTML.

/** An element. Children are elements or text; `on...` attributes are listeners, true and false set or leave out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function field(label, input, options = {}) {
  return h("label", options, label, input);
}

export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export const number = (value) => Math.round(value).toLocaleString("en");

/** Such as "1 client", "2 clients". */
export const count = (many, what) => `${number(many)} ${what}${many === 1 ? "" : "s"}`;

export function bytes(count) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (count < 1024) return `${count < 10 && unit !== "B" ? count.toFixed(1) : Math.round(count)} ${unit}`;
    count /= 1024;
  }
  return `${count.toFixed(1)} GiB`;
}

export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB", { hour12: false });

export const millis = (at) => clock(at) + "." + String(Math.floor((at % 1) * 1000)).padStart(3, "0");

/** How long ago that is, in the largest unit. */
export function ago(at, now = Date.now() / 1000) {
  const seconds = Math.max(0, now - at);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  return seconds < 2 ? "now" : `${Math.floor(seconds)} s ago`;
}

/** Where the window is narrow, what was chosen stands above the list: go there. */
export function reveal(element) {
  if (matchMedia("(max-width: 820px)").matches) element.scrollIntoView({ block: "start" });
}

let toastTimer;
export function toast(text) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, 5000);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser did not allow copying.");
  }
}
