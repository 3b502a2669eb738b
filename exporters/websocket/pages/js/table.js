import { element, empty } from "./document.js";

// Table shows rows in an order that the reader chooses. A column has a title, a value
// that is sorted by, and perhaps a cell that is shown (text or an element), number for
// right alignment and long for text that may wrap.
export class Table {
  constructor(columns, { label, nothing, key, sort = null, descending = false }) {
    this.columns = columns;
    this.key = key;
    this.sort = sort;
    this.descending = descending;
    this.rows = new Map();
    this.headers = columns.map((column, i) => element("th", { scope: "col", class: column.number && "number" },
      sort === null ? column.title : element("button", { type: "button", onclick: () => this.sortBy(i) }, column.title)));
    this.body = element("tbody");
    this.nothing = empty(nothing);
    this.frame = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
      element("table", {}, element("thead", {}, element("tr", {}, ...this.headers)), this.body));
    this.element = element("div", {}, this.frame, this.nothing);
    this.list = [];
    this.#markSort();
    this.show([]);
  }

  sortBy(column) {
    this.descending = this.sort === column ? !this.descending : Boolean(this.columns[column].number);
    this.sort = column;
    this.#markSort();
    this.show(this.list);
  }

  #markSort() {
    if (this.sort === null) {
      return;
    }
    this.headers.forEach((header, i) => {
      const chosen = i === this.sort;
      header.setAttribute("aria-sort", chosen ? (this.descending ? "descending" : "ascending") : "none");
      header.firstChild.textContent = this.columns[i].title + (chosen ? (this.descending ? " ▼" : " ▲") : "");
    });
  }

  // show replaces the rows. Rows and cells that stay the same are not touched, so that
  // a selection and the focus survive.
  show(list) {
    this.list = list;
    this.frame.hidden = list.length === 0;
    this.nothing.hidden = list.length > 0;
    const sorted = this.sort === null ? list : list.toSorted((a, b) => this.#compare(a, b));
    const used = new Set();
    let before = this.body.firstChild;
    for (const item of sorted) {
      const key = this.key(item);
      used.add(key);
      const row = this.#row(key, item);
      if (row === before) {
        before = before.nextSibling;
      } else {
        this.body.insertBefore(row, before);
      }
    }
    for (const [key, row] of this.rows) {
      if (!used.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
  }

  #compare(a, b) {
    const { value } = this.columns[this.sort];
    const x = value(a);
    const y = value(b);
    // What is missing comes last in either order.
    if (x === undefined || y === undefined) {
      return (x === undefined) - (y === undefined);
    }
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return this.descending ? -order : order;
  }

  #row(key, item) {
    let row = this.rows.get(key);
    if (!row) {
      row = element("tr", {}, ...this.columns.map((column) =>
        element("td", { class: column.number ? "number" : column.long && "long" })));
      this.rows.set(key, row);
    }
    this.columns.forEach((column, i) => {
      const shown = column.cell ? column.cell(item) : column.value(item) ?? "";
      const cell = row.children[i];
      if (shown instanceof Node) {
        if (!cell.firstChild?.isEqualNode(shown) || cell.childNodes.length > 1) {
          cell.replaceChildren(shown);
        }
      } else if (cell.textContent !== String(shown)) {
        cell.textContent = String(shown);
      }
    });
    return row;
  }
}
