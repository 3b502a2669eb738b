package rpc

import (
	"time"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Default intervals. The first two are those of the existing peer-observer (Rust).
const (
	fastInterval = 10 * time.Second
	slowInterval = 2 * time.Minute
	// addrmanInterval is for getrawaddrman, which gives some 20 MB on a node with a
	// full address manager.
	addrmanInterval = 10 * time.Minute
)

// Default timeouts. A node that is connecting a slow block holds its main lock for
// tens of seconds.
const (
	fastTimeout  = 30 * time.Second
	heavyTimeout = time.Minute
)

// method is a method of the node that the extractor calls.
type method struct {
	name string
	// lane is where its calls find a place as long as they are not slow.
	lane lane
	// vital methods make the source up or down.
	vital           bool
	defaultInterval time.Duration
	defaultTimeout  time.Duration
	// calls are made one after the other on every tick.
	calls []call
	// smallerParams ask for a shorter form of an answer that was too large.
	smallerParams []any
}

// call is one question, with the function that understands the answer.
type call struct {
	params  []any
	convert convertFunc
}

// methods is the table of methods.
func methods() []method {
	fast := func(name string, convert convertFunc) method {
		return method{
			name: name, lane: laneFast, vital: true,
			defaultInterval: fastInterval, defaultTimeout: fastTimeout,
			calls: []call{{convert: convert}},
		}
	}
	slow := func(name string, convert convertFunc) method {
		return method{
			name: name, lane: laneFast, defaultInterval: slowInterval, defaultTimeout: fastTimeout,
			calls: []call{{convert: convert}},
		}
	}
	heavy := func(name string, interval time.Duration, calls ...call) method {
		return method{
			name: name, lane: laneHeavy, defaultInterval: interval, defaultTimeout: heavyTimeout,
			calls: calls,
		}
	}
	orphans := heavy("getorphantxs", slowInterval, call{params: []any{2}, convert: convertOrphanTxs})
	// Verbosity 1 is without the transactions themselves.
	orphans.smallerParams = []any{1}
	return []method{
		fast("getpeerinfo", convertPeerInfo),
		fast("getnettotals", convertNetTotals),
		fast("getmempoolinfo", convertMempoolInfo),
		fast("getmemoryinfo", convertMemoryInfo),
		fast("uptime", convertUptime),
		fast("getaddrmaninfo", convertAddrManInfo),
		slow("getnetworkinfo", convertNetworkInfo),
		slow("getblockchaininfo", convertBlockchainInfo),
		heavy("getchaintips", slowInterval, call{convert: convertChainTips}),
		slow("getchaintxstats", convertChainTxStats),
		orphans,
		heavy("estimatesmartfee", slowInterval, feeCalls()...),
		slow("listbanned", convertBanned),
		heavy("getrawaddrman", addrmanInterval, call{convert: convertAddrman}),
	}
}

// feeTargets are the confirmation targets asked for, in blocks: the next block, an
// hour and a day. Bitcoin Core answers a target of 1 for 2.
func feeTargets() []uint32 { return []uint32{1, 6, 144} }

// feeCalls are the questions to estimatesmartfee: every target in both modes.
func feeCalls() []call {
	modes := []struct {
		name  string
		value eventpb.FeeEstimateMode
	}{
		{"economical", eventpb.FeeEstimateMode_FEE_ESTIMATE_MODE_ECONOMICAL},
		{"conservative", eventpb.FeeEstimateMode_FEE_ESTIMATE_MODE_CONSERVATIVE},
	}
	var calls []call
	for _, target := range feeTargets() {
		for _, mode := range modes {
			calls = append(calls, call{
				params:  []any{target, mode.name},
				convert: convertSmartFee(target, mode.value),
			})
		}
	}
	return calls
}

// Method is a method that the extractor calls, with the interval that it has unless
// Config.Intervals says otherwise.
type Method struct {
	Name     string
	Interval time.Duration
}

// Methods lists every method that the extractor knows, for flags and documentation.
func Methods() []Method {
	var list []Method
	for _, m := range methods() {
		list = append(list, Method{Name: m.name, Interval: m.defaultInterval})
	}
	return list
}
