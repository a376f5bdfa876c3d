// Elements, made and filled. Text is always text and never markup.

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  name = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (name !== "") element.className = name;
  element.append(...children);
  return element;
}

export function by<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Sets the text if it is another: what stays is not read out again. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element: HTMLElement, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function show(element: HTMLElement, shown: boolean): void {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Fills `parent` anew, only when `key` is another than the last time. */
export function refill(parent: HTMLElement, key: string, fill: () => (Node | string)[]): void {
  if (parent.getAttribute("data-key") === key) return;
  parent.setAttribute("data-key", key);
  parent.replaceChildren(...fill());
}
