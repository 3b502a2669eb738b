import { card, element, empty, facts, later } from "./document.js";
import { bytes, connectionType, count, number, services, span } from "./format.js";
import { MessageList } from "./messages.js";
import { Table } from "./table.js";

// peers shows the connections of the node, or one of them with its messages.
export function peers(frame) {
  return /^\d+$/.test(frame.argument ?? "") ? onePeer(frame, Number(frame.argument)) : allPeers(frame);
}

const seconds = (value) => (value === undefined || Number(value) <= 0 ? undefined : Date.now() / 1000 - Number(value));

const columns = (node) => [
  { title: "Peer", value: (p) => Number(p.id), cell: (p) => element("a", { href: `#/peers/${Number(p.id)}` }, String(p.id)) },
  { title: "Address", value: (p) => p.address ?? "" },
  { title: "Direction", value: (p) => (p.inbound ? "inbound" : "outbound") },
  { title: "Type", value: (p) => p.connection_type ?? "" },
  { title: "Network", value: (p) => (p.network ?? "").replaceAll("_", " ") },
  { title: "AS", number: true, value: (p) => p.mapped_as || undefined },
  { title: "Transport", value: (p) => p.transport_protocol_type ?? "" },
  { title: "Received", number: true, value: (p) => Number(p.bytes_received ?? 0), cell: (p) => bytes(p.bytes_received ?? 0) },
  { title: "Sent", number: true, value: (p) => Number(p.bytes_sent ?? 0), cell: (p) => bytes(p.bytes_sent ?? 0) },
  { title: "Ping", number: true, value: (p) => p.ping_time || undefined, cell: (p) => span(p.ping_time || undefined) },
  { title: "Connected", number: true, value: (p) => seconds(p.connection_time), cell: (p) => span(seconds(p.connection_time)) },
  { title: "Service time", number: true, value: (p) => node.serviceTime(p.id)?.seconds, cell: (p) => span(node.serviceTime(p.id)?.seconds) },
  { title: "CPU", number: true, value: (p) => p.cpu_load, cell: (p) => (p.cpu_load === undefined ? "" : `${p.cpu_load.toFixed(2)} %`) },
  { title: "User agent", value: (p) => p.subversion ?? "" },
];

function allPeers({ node }) {
  const opened = new Map(); // seen since the last answer of getpeerinfo
  const closed = new Set();
  const summary = element("p", { class: "quiet" });
  const legend = element("p", { class: "quiet" }, "Service time: what the node worked for the peer's messages in the last minute, by the tracepoints. CPU: its share of the connection's time, by the node itself.");
  // Autonomous systems are known to a node with a map of them (-asmap).
  const mapped = [...node.peers.values()].some((p) => p.mapped_as);
  const table = new Table(columns(node).filter((column) => mapped || column.title !== "AS"), {
    label: "Peers", nothing: "Waiting for the node's list of its peers, which comes every few seconds.", key: (p) => Number(p.id), sort: 0,
  });
  const filter = element("input", { type: "search", placeholder: "address, network, type…", oninput: () => draw(), size: "24" });
  let answer = node.rpc.peer_infos;

  const draw = later(() => {
    if (node.rpc.peer_infos !== answer) {
      answer = node.rpc.peer_infos;
      opened.clear();
      closed.clear();
    }
    const all = [...new Map([...opened, ...node.peers]).values()].filter((p) => !closed.has(Number(p.id)));
    const wanted = filter.value.trim().toLowerCase();
    const list = all.filter((p) => wanted === "" ||
      [p.address, p.network, p.connection_type, p.transport_protocol_type, p.subversion, p.inbound ? "inbound" : "outbound"]
        .some((text) => (text ?? "").toLowerCase().includes(wanted)));
    const inbound = all.filter((p) => p.inbound).length;
    summary.textContent = answer ? `${count(all.length, "peer")}: ${inbound} inbound, ${all.length - inbound} outbound. ${number(list.length)} shown.` : "";
    table.nothing.textContent = !answer ? "Waiting for the node's list of its peers, which comes every few seconds."
      : all.length === 0 ? "The node has no peers." : "No peer is like that.";
    table.show(list);
  });
  return {
    element: element("div", {}, element("div", { class: "controls" }, element("label", {}, "Show only", filter)), summary, table.element, legend),
    filters: () => [{ events: ["connection"] }],
    event(event) {
      const connection = event.ebpf_extractor?.connection;
      const begun = connection?.inbound?.conn ?? connection?.outbound?.conn;
      const ended = connection?.closed?.conn ?? connection?.inbound_evicted?.conn;
      if (begun) {
        closed.delete(Number(begun.peer_id));
        opened.set(Number(begun.peer_id), {
          id: begun.peer_id, address: begun.addr, inbound: Boolean(connection.inbound), connection_type: connectionType(begun), subversion: "(new)",
        });
      } else if (ended) {
        closed.add(Number(ended.peer_id));
      }
    },
    draw,
    tick: draw,
  };
}

// serviceText says what the node worked for a peer.
function serviceText(service) {
  if (service === undefined) {
    return "not known without tracepoints";
  }
  if (service.messages === 0) {
    return "no message in the last minute";
  }
  const cpu = service.cpu_seconds === undefined ? "" : ` (${span(service.cpu_seconds)} of CPU)`;
  const most = service.message_seconds > 0 ? `, most for ${service.message}: ${span(service.message_seconds)}` : "";
  return `${span(service.seconds)}${cpu} for ${count(service.messages, "message")} in the last minute${most}`;
}

function onePeer({ node }, id) {
  const about = element("div");
  const list = new MessageList(node, { nothing: "Waiting for a message from or to this peer.", withPeer: false });
  let gone = "";
  const draw = later(() => {
    const p = node.peers.get(id);
    about.replaceChildren(card(`Peer ${id}`, gone ? element("p", { class: "bad" }, gone) : undefined, p ? facts([
      ["Address", p.address],
      ["Network", (p.network ?? "").replaceAll("_", " ")],
      ["AS", p.mapped_as || undefined],
      ["Direction", p.inbound ? "inbound" : "outbound"],
      ["Type", p.connection_type],
      ["Transport", p.transport_protocol_type],
      ["User agent", p.subversion],
      ["Protocol", p.version],
      ["Services", services(BigInt(/^[0-9a-f]{1,16}$/i.test(p.services ?? "") ? `0x${p.services}` : 0))],
      ["Connected for", span(seconds(p.connection_time))],
      ["Ping", span(p.ping_time || undefined)],
      ["Least ping", span(p.minimum_ping || undefined)],
      ["Received", bytes(p.bytes_received ?? 0)],
      ["Sent", bytes(p.bytes_sent ?? 0)],
      ["Service time", serviceText(node.serviceTime(id))],
      ["Last block", span(seconds(p.last_block)) || "none"],
      ["Last transaction", span(seconds(p.last_transaction)) || "none"],
      ["Addresses processed", number(p.addr_processed)],
      ["Addresses refused", number(p.addr_rate_limited)],
      ["Common headers to", p.synced_headers >= 0 ? number(p.synced_headers) : "unknown"],
    ]) : empty("The node doesn't list this peer, or has not answered yet.")));
    list.draw();
  });
  return {
    element: element("div", {}, element("p", {}, element("a", { href: "#/peers" }, "← All peers")), about,
      element("h3", {}, "Last messages"), list.controls, list.element),
    filters: () => [{ events: ["message", "connection"], peers: [String(id)] }],
    event(event) {
      list.event(event);
      if (Number(event.ebpf_extractor?.connection?.closed?.conn?.peer_id ?? -1) === id) {
        gone = "The connection was closed.";
      }
    },
    draw,
    tick: draw,
    key: (event) => list.key(event),
  };
}
