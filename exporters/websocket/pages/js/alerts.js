import { element, state } from "./document.js";
import { clock, count, span } from "./format.js";
import { Table } from "./table.js";

const grave = ["page", "ticket", "info"];

// AlertList shows which alerts fire, as a Prometheus or an Alertmanager says.
export class AlertList {
  constructor() {
    this.verdict = element("p");
    this.table = new Table([
      { title: "Severity", value: (a) => (grave.indexOf(a.severity) + grave.length) % (grave.length + 1), cell: (a) => severity(a) },
      { title: "Alert", value: (a) => a.name, cell: (a) => name(a) },
      { title: "State", value: (a) => a.state },
      { title: "For", number: true, value: (a) => age(a), cell: (a) => span(age(a)) },
      { title: "Node", value: (a) => a.node || a.instance || "" },
      { title: "What it says", long: true, value: (a) => a.description || a.summary || "" },
    ], { label: "Firing alerts", nothing: "", key: (a) => `${a.name} ${a.severity} ${a.node ?? ""} ${a.instance ?? ""} ${a.since_ms ?? ""} ${a.summary ?? ""}` });
    this.table.nothing.remove();
    this.element = element("div", {}, this.verdict, this.table.element);
  }

  show(report) {
    this.table.show(report?.alerts ?? []);
    if (!report) {
      this.verdict.replaceChildren("Waiting for the server to tell.");
    } else if (!report.configured) {
      this.verdict.replaceChildren("Not known: nobody is asked. Start ", element("code", {}, "peer-observer websocket"), " with ",
        element("code", {}, "--websocket.alerts-url"), ", or the agent with ", element("code", {}, "--exporter.websocket.alerts-url"),
        ", and the address of a Prometheus that has the alert rules, or of its Alertmanager.");
    } else if (report.error) {
      this.verdict.replaceChildren(state(false, "", `Not known: ${report.error}.`),
        report.time_ms ? ` ${report.server} last answered at ${clock(report.time_ms / 1e3)}.` : " Who is asked has not answered yet.");
    } else if (!report.server) {
      this.verdict.replaceChildren("Waiting for the first answer.");
    } else {
      const pending = report.pending > 0 ? `, ${count(report.pending, "alert is", "alerts are")} pending` : "";
      const more = report.total > report.alerts.length ? ` ${count(report.alerts.length, "of them is", "of them are")} shown.` : "";
      this.verdict.replaceChildren(state(report.total === 0, "No alert fires", `${count(report.total, "alert fires", "alerts fire")}`),
        `${pending}, says ${report.server} at ${clock(report.time_ms / 1e3)}.${more}`);
    }
  }
}

const age = (alert) => (alert.since_ms ? Math.max(0, Date.now() / 1000 - alert.since_ms / 1000) : undefined);

function severity(alert) {
  const loud = alert.state === "firing" && alert.severity === "page";
  return element("span", { class: loud && "bad" }, `${loud ? "✗ " : ""}${alert.severity ?? ""}`);
}

// name links the runbook, which the server has checked to be on the web.
function name(alert) {
  return alert.runbook_url && /^https?:\/\//.test(alert.runbook_url)
    ? element("a", { href: alert.runbook_url, rel: "noopener noreferrer", target: "_blank" }, alert.name) : alert.name;
}
