// How a payload is shown: JSON as a tree, text, hex, MessagePack and CBOR.
import { h } from "./dom.js";

export function bytesOf(message) {
  if (!message.binary) return new TextEncoder().encode(message.payload);
  return Uint8Array.from(atob(message.payload), (character) => character.charCodeAt(0));
}

export function preview(message) {
  if (message.size === 0) return "(empty)";
  if (message.binary) return hex(bytesOf(message).subarray(0, 24));
  return message.payload.slice(0, 200);
}

export const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

function dump(data) {
  const lines = [];
  for (let at = 0; at < Math.min(data.length, 4096); at += 16) {
    const part = data.subarray(at, at + 16);
    const text = Array.from(part, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex(part).padEnd(47)}  ${text}`);
  }
  if (data.length > 4096) lines.push("...");
  return lines.join("\n");
}

/** What a payload can be shown as, the best first: [name, element-making function]. */
export function views(message) {
  const data = bytesOf(message);
  const found = [];
  if (!message.binary) {
    const value = parsed(message.payload);
    if (typeof value === "object" && value !== null) found.push(["JSON", () => tree(value)]);
    found.push(["Text", () => h("pre", {}, message.payload || "(empty)")]);
  } else {
    for (const [name, read] of [["MessagePack", messagePack], ["CBOR", cbor]]) {
      const value = whole(read, data);
      if (typeof value === "object" && value !== null) found.push([name, () => tree(value)]);
    }
  }
  found.push(["Hex", () => h("pre", { class: "hex", tabindex: "0", "aria-label": "Bytes in hexadecimal" }, dump(data))]);
  return found;
}

export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The numbers in a payload by their path; "" is the payload itself. */
export function figures(message) {
  if (message.binary || message.size > 4096) return {};
  const value = parsed(message.payload);
  if (typeof value === "number") return { "": value };
  const found = {};
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value).slice(0, 20)) if (typeof inner === "number") found[key] = inner;
  }
  return found;
}

export function tree(value, name = null, depth = 0) {
  const label = name === null ? "" : h("span", { class: "key-name" }, `${name}: `);
  if (typeof value !== "object" || value === null) {
    const kind = typeof value === "string" ? "text" : "figure";
    return h("div", {}, label, h("span", { class: kind }, typeof value === "bigint" ? String(value) : JSON.stringify(value)));
  }
  const entries = Array.isArray(value) ? value.map((inner, index) => [index, inner]) : Object.entries(value);
  const head = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  const details = h("details", { open: depth < 2 }, h("summary", {}, label, head));
  const fill = () => {
    if (details.childElementCount > 1) return;
    const shown = entries.slice(0, 200).map(([key, inner]) => h("li", {}, tree(inner, key, depth + 1)));
    if (entries.length > 200) shown.push(h("li", {}, `... ${entries.length - 200} more`));
    details.append(h("ul", { class: "json" }, shown));
  };
  details.addEventListener("toggle", fill, { once: true });
  if (depth < 2) fill();
  return details;
}

function whole(read, data) {
  try {
    const [value, end] = read(data, 0, 0);
    return end === data.length ? value : undefined;
  } catch {
    return undefined;
  }
}

function take(data, at, count) {
  if (at + count > data.length) throw new RangeError("cut off");
  return data.subarray(at, at + count);
}

function uint(data, at, size) {
  let value = 0;
  for (const byte of take(data, at, size)) value = value * 256 + byte;
  return value;
}

const view = (data, at, size) => new DataView(take(data, at, size).slice().buffer);
const textOf = (data) => new TextDecoder("utf-8", { fatal: true }).decode(data);

function collect(read, data, at, count, pairs, depth) {
  if (depth > 32) throw new RangeError("too deep");
  const found = pairs ? {} : [];
  for (let index = 0; index < count; index += 1) {
    let value;
    [value, at] = read(data, at, depth + 1);
    if (!pairs) {
      found.push(value);
    } else {
      const key = String(value);
      [value, at] = read(data, at, depth + 1);
      Object.defineProperty(found, key, { value, enumerable: true, configurable: true, writable: true });
    }
  }
  return [found, at];
}

/** https://github.com/msgpack/msgpack/blob/master/spec.md, without timestamps. */
function messagePack(data, at, depth) {
  const kind = uint(data, at, 1);
  at += 1;
  if (kind < 0x80) return [kind, at];
  if (kind < 0x90) return collect(messagePack, data, at, kind & 15, true, depth);
  if (kind < 0xa0) return collect(messagePack, data, at, kind & 15, false, depth);
  if (kind < 0xc0) return [textOf(take(data, at, kind & 31)), at + (kind & 31)];
  if (kind >= 0xe0) return [kind - 256, at];
  const sized = (size, then) => then(uint(data, at, size), at + size);
  switch (kind) {
    case 0xc0: return [null, at];
    case 0xc2: return [false, at];
    case 0xc3: return [true, at];
    case 0xc4: case 0xc5: case 0xc6:
      return sized(1 << (kind - 0xc4), (count, from) => [hex(take(data, from, count)), from + count]);
    case 0xca: return [view(data, at, 4).getFloat32(0), at + 4];
    case 0xcb: return [view(data, at, 8).getFloat64(0), at + 8];
    case 0xcc: case 0xcd: case 0xce: case 0xcf: { const size = 1 << (kind - 0xcc); return [uint(data, at, size), at + size]; }
    case 0xd0: return [view(data, at, 1).getInt8(0), at + 1];
    case 0xd1: return [view(data, at, 2).getInt16(0), at + 2];
    case 0xd2: return [view(data, at, 4).getInt32(0), at + 4];
    case 0xd3: return [Number(view(data, at, 8).getBigInt64(0)), at + 8];
    case 0xd9: case 0xda: case 0xdb:
      return sized(1 << (kind - 0xd9), (count, from) => [textOf(take(data, from, count)), from + count]);
    case 0xdc: case 0xdd: return sized(2 << (kind - 0xdc), (count, from) => collect(messagePack, data, from, count, false, depth));
    case 0xde: case 0xdf: return sized(2 << (kind - 0xde), (count, from) => collect(messagePack, data, from, count, true, depth));
    default: throw new RangeError("not known");
  }
}

/** RFC 8949, without indefinite lengths. */
function cbor(data, at, depth) {
  const head = uint(data, at, 1);
  const major = head >> 5;
  const low = head & 31;
  at += 1;
  if (major === 7) {
    if (low === 25) return [half(uint(data, at, 2)), at + 2];
    if (low === 26) return [view(data, at, 4).getFloat32(0), at + 4];
    if (low === 27) return [view(data, at, 8).getFloat64(0), at + 8];
    const simple = { 20: false, 21: true, 22: null, 23: null };
    if (!(low in simple)) throw new RangeError("not known");
    return [simple[low], at];
  }
  let count = low;
  if (low > 27) throw new RangeError("not known");
  if (low > 23) {
    const size = 1 << (low - 24);
    count = uint(data, at, size);
    at += size;
  }
  switch (major) {
    case 0: return [count, at];
    case 1: return [-1 - count, at];
    case 2: return [hex(take(data, at, count)), at + count];
    case 3: return [textOf(take(data, at, count)), at + count];
    case 4: return collect(cbor, data, at, count, false, depth);
    case 5: return collect(cbor, data, at, count, true, depth);
    default: return cbor(data, at, depth + 1);
  }
}

function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
