// What is to be said of a room or a machine besides the sentence that matters most.

import { make, refill, say, show } from "./element";
import { Lamp } from "./look";
import type { Sentence } from "./sentences";

/** Sentences as a list, each with its light. */
export function lines(list: HTMLElement, told: Sentence[], named: boolean): void {
  show(list, told.length > 0);
  // The words change every second; what is rebuilt must not.
  refill(list, told.map((it) => `${it.device}${it.component}${it.light}`).join("/"), () =>
    told.map((it) => {
      const lamp = new Lamp();
      lamp.update(it.light);
      const about = named ? [make("b", "", it.device), " "] : [];
      return make("li", "", lamp.element, make("span", "", ...about, make("span", "words", it.text)));
    }),
  );
  told.forEach((it, index) => {
    const words = list.children[index]?.querySelector(".words");
    if (words) say(words, it.text);
  });
}
