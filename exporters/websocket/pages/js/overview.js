import { AlertList } from "./alerts.js";
import { card, element, empty, facts, later, state } from "./document.js";
import { bytes, clock, count, number, span } from "./format.js";
import { Table } from "./table.js";

// overview shows how the node and its observer are.
export function overview({ node, nodes, alerts }) {
  const verdict = element("p");
  const firing = new AlertList();
  const nodeCard = element("div");
  const chainCard = element("div");
  const networkCard = element("div");
  const all = new Table([
    { title: "Node", value: (n) => n.name || "(no name)" },
    { title: "State", value: (n) => n.missing().length, cell: (n) => state(n.missing().length === 0, "ready", "not ready") },
    { title: "Chain", value: (n) => n.status?.node?.chain },
    { title: "Peers", number: true, value: (n) => n.rpc.peer_infos && n.peers.size },
    { title: "Events lost", number: true, value: (n) => n.lost(), cell: (n) => number(n.lost()) },
  ], { label: "All nodes", nothing: "No node yet.", key: (n) => n.name, sort: 0 });
  const sources = new Table([
    { title: "Source", value: (s) => s.source },
    { title: "State", value: (s) => String(Boolean(s.up)), cell: (s) => state(s.up, "live", "not live") },
    { title: "Events", number: true, value: (s) => Number(s.events ?? 0), cell: (s) => number(s.events ?? 0) },
    { title: "Failures", number: true, value: (s) => Number(s.failures ?? 0), cell: (s) => number(s.failures ?? 0) },
    { title: "Last event", value: (s) => Number(s.last_event_time_ns ?? 0), cell: (s) => (Number(s.last_event_time_ns) > 0 ? clock(Number(s.last_event_time_ns) / 1e9) : "none") },
    { title: "Detail", long: true, value: (s) => s.detail ?? "" },
  ], { label: "Sources", nothing: "Waiting for the observer to tell its state.", key: (s) => s.source });
  const losses = new Table([
    { title: "Source", value: (l) => l.source },
    { title: "Where", value: (l) => l.stage },
    { title: "Why", value: (l) => (l.reason ?? "").replaceAll("_", " ") },
    { title: "Events", number: true, value: (l) => Number(l.count ?? 0), cell: (l) => number(l.count) },
  ], { label: "Losses", nothing: "Nothing was lost.", key: (l) => `${l.source} ${l.stage} ${l.reason}`, sort: 3, descending: true });
  const queues = new Table([
    { title: "Sink", value: (q) => q.sink },
    { title: "Events waiting", number: true, value: (q) => Number(q.events ?? 0), cell: (q) => number(q.events ?? 0) },
    { title: "Fill", value: (q) => Number(q.bytes ?? 0), cell: (q) => `${bytes(q.bytes ?? 0)} of ${bytes(q.capacity_bytes)}` },
  ], { label: "Queues", nothing: "There are no queues.", key: (q) => q.sink });

  const draw = later(() => {
    const missing = node.missing();
    if (node.status) {
      verdict.replaceChildren(state(missing.length === 0, "Ready: every source is live.", `Not ready. ${missing.join("; ")}`));
    } else {
      verdict.replaceChildren("Waiting for the observer to tell its state, which it does every few seconds.");
    }
    firing.show(alerts.last);
    const about = node.status?.node;
    const chain = node.rpc.blockchain_info;
    const network = node.rpc.network_info;
    nodeCard.replaceChildren(card("Node", about || network ? facts([
      ["Name", node.name],
      ["Software", network?.subversion ?? about?.version],
      ["Chain", about?.chain ?? chain?.chain],
      ["Process", about?.pid],
      ["Running for", node.rpc.uptime === undefined ? undefined : span(Number(node.rpc.uptime))],
      ["Restarts seen", number(about?.restarts)],
      ["Observer", node.status?.version],
      ["State of", node.statusTime ? clock(node.statusTime) : undefined],
    ]) : empty("No node was found yet.")));
    chainCard.replaceChildren(card("Chain", chain ? facts([
      ["Blocks", number(chain.blocks)],
      ["Headers", number(chain.headers)],
      ["Best block", element("span", { class: "hash" }, chain.bestblockhash ?? "")],
      ["Initial download", chain.initialblockdownload ? "under way" : "done"],
      ["Verified", progress(chain.verificationprogress)],
      ["Size on disk", bytes(chain.size_on_disk)],
      ["Mempool", node.rpc.mempool_info && `${count(node.rpc.mempool_info.size, "transaction")}, ${bytes(node.rpc.mempool_info.usage)}`],
    ]) : empty("Waiting for an answer of the node's RPC.")));
    const totals = node.rpc.net_totals;
    networkCard.replaceChildren(card("Network", network ? facts([
      ["Connections", `${number(network.connections)} (${number(network.connections_in)} in, ${number(network.connections_out)} out)`],
      ["Active", network.network_active ? "yes" : "no"],
      ["Received", totals && bytes(totals.total_bytes_received)],
      ["Sent", totals && bytes(totals.total_bytes_sent)],
      ["Protocol", network.protocol_version],
    ]) : empty("Waiting for an answer of the node's RPC.")));
    all.show([...nodes.values()]);
    sources.show(node.status?.sources ?? []);
    losses.show((node.status?.losses ?? []).filter((loss) => Number(loss.count) > 0));
    queues.show(node.status?.queues ?? []);
  }, 500);
  return {
    element: element("div", {}, verdict,
      element("div", { class: "cards" }, nodeCard, chainCard, networkCard),
      element("h3", {}, "Firing alerts"), firing.element,
      element("h3", {}, "Sources"), sources.element,
      element("h3", {}, "Lost events"), losses.element,
      element("h3", {}, "Queues"), queues.element,
      element("h3", {}, "All nodes"), all.element),
    filters: () => [{ events: ["rpc.network_info", "rpc.blockchain_info", "rpc.mempool_info", "rpc.net_totals", "rpc.uptime"] }],
    draw,
  };
}

function progress(value) {
  if (value === undefined) {
    return undefined;
  }
  const percent = `${(Math.min(value, 1) * 100).toFixed(2)} %`;
  return element("span", {}, percent, element("progress", { max: "1", value: String(Math.min(value, 1)), "aria-label": `Verified ${percent}` }));
}
