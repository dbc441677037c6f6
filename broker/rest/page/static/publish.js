// A form for one message, with all that MQTT 5.0 lets it have.
import { attempt } from "./api.js";
import { field, h, toast } from "./dom.js";

export class Publish {
  title = "Publish";

  constructor() {
    const input = (name, options = {}) => (this[name] = h("input", { name, autocomplete: "off", spellcheck: "false", ...options }));
    this.payload = h("textarea", { name: "payload", spellcheck: "false" });
    this.qos = h("select", { name: "qos" }, [0, 1, 2].map((qos) => h("option", { value: qos }, String(qos))));
    const check = (name, label) => h("label", { class: "check" }, (this[name] = h("input", { type: "checkbox", name })), label);
    this.pairs = h("div", { class: "pairs" });
    this.form = h("form", { class: "box", onsubmit: (event) => { event.preventDefault(); this.send(); } },
      h("h2", {}, "Publish a message"),
      h("div", { class: "form" },
        field("Topic", input("topic", { required: true, placeholder: "room/light/set" }), { class: "wide" }),
        field("Payload", this.payload, { class: "wide" }),
        field("QoS", this.qos), field("Publish as client", input("clientid", { placeholder: "pybroker-http" })),
        check("retain", "Retain"), check("base64", "The payload is base64")),
      h("details", { class: "properties" }, h("summary", {}, "MQTT 5.0 properties"),
        h("div", { class: "form" },
          field("Content type", input("content_type", { placeholder: "application/json" })),
          field("Response topic", input("response_topic")), field("Correlation data", input("correlation_data")),
          field("Expires after (seconds)", input("expiry", { type: "number", min: 0, max: 4294967295 })),
          check("utf8", "Payload is marked as UTF-8 text")),
        h("h3", {}, "User properties"), this.pairs,
        h("button", { type: "button", class: "small", onclick: () => this.pair("", "", true) }, "Add a user property")),
      h("div", { class: "bar" }, h("button", { type: "submit", class: "main" }, "Publish")));
    this.element = h("div", {}, this.form);
  }

  pair(name, value, focus = false) {
    const inputs = [["Name", name], ["Value", value]].map(([label, text]) => h("input", { "aria-label": `${label} of the user property`, placeholder: label, value: text }));
    const remove = h("button", { type: "button", class: "small", "aria-label": "Remove this user property", onclick: () => [...inputs, remove].forEach((one) => one.remove()) }, "\u2715");
    this.pairs.append(...inputs, remove);
    if (focus) inputs[0].focus();
  }

  /** Fill in what `message` has. */
  fill(message) {
    const properties = message.properties ?? {};
    this.topic.value = message.topic;
    this.payload.value = message.payload;
    this.base64.checked = Boolean(message.binary);
    this.qos.value = message.qos;
    this.retain.checked = message.retain;
    this.content_type.value = properties.content_type ?? "";
    this.response_topic.value = properties.response_topic ?? "";
    this.correlation_data.value = properties.correlation_data ? atob(properties.correlation_data) : "";
    this.expiry.value = properties.message_expiry_interval ?? "";
    this.utf8.checked = properties.payload_format_indicator === 1;
    this.pairs.replaceChildren();
    for (const [name, value] of properties.user_properties ?? []) this.pair(name, value);
    this.element.querySelector(".properties").open = Object.keys(properties).length > 0;
  }

  async send() {
    const inputs = [...this.pairs.querySelectorAll("input")].map((input) => input.value);
    const user = {};
    for (let index = 0; index < inputs.length; index += 2) if (inputs[index]) user[inputs[index]] = inputs[index + 1];
    const properties = {};
    for (const name of ["content_type", "response_topic", "correlation_data"]) if (this[name].value) properties[name] = this[name].value;
    if (this.expiry.value) properties.message_expiry_interval = Number(this.expiry.value);
    if (this.utf8.checked) properties.payload_format_indicator = 1;
    if (Object.keys(user).length) properties.user_properties = user;
    const body = { topic: this.topic.value, payload: this.payload.value, qos: Number(this.qos.value), retain: this.retain.checked };
    if (this.base64.checked) body.encoding = "base64";
    if (this.clientid.value) body.clientid = this.clientid.value;
    if (Object.keys(properties).length) body.properties = properties;
    if ((await attempt("POST", "/mqtt/publish", body)) !== undefined) toast(`Published to ${body.topic}.`);
  }
}
