package node

import "fmt"

// Names of the chains, as -chain has them and getblockchaininfo answers.
const (
	ChainMain     = "main"
	ChainTestnet3 = "test"
	ChainTestnet4 = "testnet4"
	ChainSignet   = "signet"
	ChainRegtest  = "regtest"
)

// chainParams are what differs between the chains (chainparamsbase.cpp,
// kernel/chainparams.cpp).
type chainParams struct {
	directory string // below the data directory
	rpcPort   uint16
	p2pPort   uint16
}

func paramsOf(chain string) (chainParams, bool) {
	switch chain {
	case ChainMain:
		return chainParams{"", 8332, 8333}, true
	case ChainTestnet3:
		return chainParams{"testnet3", 18332, 18333}, true
	case ChainTestnet4:
		return chainParams{"testnet4", 48332, 48333}, true
	case ChainSignet:
		return chainParams{"signet", 38332, 38333}, true
	case ChainRegtest:
		return chainParams{"regtest", 18443, 18444}, true
	}
	return chainParams{}, false
}

// ParseChain checks the name of a chain and returns it as Bitcoin Core says it.
// Common other names are understood.
func ParseChain(name string) (string, error) {
	switch name {
	case ChainMain, "mainnet":
		return ChainMain, nil
	case ChainTestnet3, "testnet", "testnet3":
		return ChainTestnet3, nil
	case ChainTestnet4, ChainSignet, ChainRegtest:
		return name, nil
	}
	return "", fmt.Errorf("unknown chain %q: --bitcoin.chain is one of main, test, testnet4, signet, regtest", name)
}

// chain is the chain that the settings select (common/args.cpp, GetChainArg).
func (s *settings) chain() (string, error) {
	if v, ok := s.get("", "chain"); ok && !v.negated {
		if _, known := paramsOf(v.text); !known {
			return "", fmt.Errorf("the node's chain %q is not one of main, test, testnet4, signet, regtest", v.text)
		}
		return v.text, nil
	}
	for _, flag := range [...]struct{ name, chain string }{
		{"regtest", ChainRegtest},
		{"signet", ChainSignet},
		{"testnet", ChainTestnet3},
		{"testnet4", ChainTestnet4},
	} {
		if s.chainFlag(flag.name) {
			return flag.chain, nil
		}
	}
	return ChainMain, nil
}
