// Rates of the last minute, a bar a second.

const seconds = 60;
const namespace = "http://www.w3.org/2000/svg";

export class Rates {
  constructor(label) {
    this.label = label;
    this.counts = new Array(seconds).fill(0);
    this.now = Math.floor(Date.now() / 1000);
    this.svg = document.createElementNS(namespace, "svg");
    this.svg.setAttribute("class", "chart");
    this.svg.setAttribute("viewBox", `0 0 ${seconds} 40`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    this.bars = this.counts.map((_, i) => {
      const bar = document.createElementNS(namespace, "rect");
      bar.setAttribute("x", i + 0.1);
      bar.setAttribute("width", 0.8);
      this.svg.append(bar);
      return bar;
    });
    this.caption = document.createElement("p");
    this.caption.className = "quiet";
    this.element = document.createElement("div");
    this.element.append(this.svg, this.caption);
    this.draw();
  }

  add(count) {
    this.#advance();
    this.counts[seconds - 1] += count;
  }

  #advance() {
    const now = Math.floor(Date.now() / 1000);
    for (let passed = Math.min(now - this.now, seconds); passed > 0; passed--) {
      this.counts.shift();
      this.counts.push(0);
    }
    this.now = now;
  }

  draw() {
    this.#advance();
    const highest = Math.max(1, ...this.counts);
    this.counts.forEach((count, i) => {
      const height = (count / highest) * 40;
      this.bars[i].setAttribute("y", 40 - height);
      this.bars[i].setAttribute("height", height);
    });
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    const text = `${this.label}: ${total.toLocaleString("en")} in the last minute, at most ${total === 0 ? 0 : highest.toLocaleString("en")} in a second`;
    this.caption.textContent = text;
    this.svg.setAttribute("aria-label", text);
    // An element of SVG has no property hidden.
    this.svg.toggleAttribute("hidden", total === 0);
  }
}
