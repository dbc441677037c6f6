// One card for each thing that has a name, in a list that follows what the broker answers.
import { h } from "./dom.js";

export class Cards {
  /** `make` makes a card, `{ element, update }`, of the first that is known of a thing. */
  constructor(nothing, make) {
    this.nothing = h("p", { class: "empty" }, nothing);
    this.make = make;
    this.cards = new Map();
    this.list = h("div");
    this.element = h("div", {}, this.nothing, this.list);
  }

  /** Show these, and no others. */
  show(found) {
    this.nothing.hidden = found.length > 0;
    const names = new Set(found.map((one) => one.name));
    for (const [name, card] of this.cards) {
      if (!names.has(name)) {
        card.element.remove();
        this.cards.delete(name);
      }
    }
    for (const one of found) {
      let card = this.cards.get(one.name);
      if (!card) {
        card = this.make(one);
        this.cards.set(one.name, card);
        this.list.append(card.element);
      }
      card.update(one);
    }
  }
}
