// Values as people read them. Integers of 64 bits come as text.

export function number(value) {
  return value === undefined ? "" : Number(value).toLocaleString("en");
}

export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${Number(value) === 1 ? one : many}`;
}

export function bytes(value) {
  if (value === undefined) {
    return "";
  }
  let rest = Number(value);
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (rest < 1000) {
      return `${unit === "B" ? rest : rest.toFixed(1)} ${unit}`;
    }
    rest /= 1000;
  }
  return `${rest.toFixed(1)} TB`;
}

// span gives a time span from seconds.
export function span(seconds) {
  if (seconds === undefined || !Number.isFinite(seconds)) {
    return "";
  }
  if (Math.abs(seconds) < 1) {
    return `${(seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0)} ms`;
  }
  if (Math.abs(seconds) < 120) {
    return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) {
    return `${minutes} min`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

export function clock(seconds) {
  const date = new Date(seconds * 1000);
  const pad = (value, width = 2) => String(value).padStart(width, "0");
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

// timeOf gives the best time of an event, in seconds.
export function timeOf(event) {
  const nanoseconds = event.kernel_time_ns ?? event.receive_time_ns;
  return nanoseconds ? Number(nanoseconds) / 1e9 : Number(event.timestamp) / 1e3;
}

// hash gives a hash in display order, from base64 in internal order.
export function hash(base64) {
  if (!base64) {
    return "";
  }
  const raw = atob(base64);
  let text = "";
  for (let i = raw.length - 1; i >= 0; i--) {
    text += raw.charCodeAt(i).toString(16).padStart(2, "0");
  }
  return text;
}

export function shortHash(text) {
  return text.length > 20 ? `${text.slice(0, 8)}…${text.slice(-8)}` : text;
}

// connectionType gives Bitcoin Core's name of a connection's type.
export function connectionType(meta) {
  const name = meta.connection_type ?? meta.conn_type ?? "";
  return name.replace(/^(CONNECTION|CONN)_TYPE_/, "").toLowerCase().replaceAll("_", "-");
}

const serviceNames = ["NETWORK", "GETUTXO", "BLOOM", "WITNESS", "", "", "COMPACT_FILTERS", "", "", "", "NETWORK_LIMITED", "P2P_V2"];

// services names the bits of a service field, given as number or text.
export function services(bits) {
  let rest = BigInt(bits ?? 0);
  const names = [];
  for (let bit = 0; rest > 0n; bit++, rest >>= 1n) {
    if (rest & 1n) {
      names.push(serviceNames[bit] || `bit ${bit}`);
    }
  }
  return names.join(", ") || "none";
}

export function addressText(address) {
  for (const network of ["ipv4", "ipv6", "torv2", "torv3", "i2p", "cjdns"]) {
    if (address[network]) {
      return { network, text: address[network] };
    }
  }
  return { network: `unknown (${address.unknown?.id ?? "?"})`, text: address.unknown?.address ?? "" };
}
