package node

import (
	"slices"
	"strings"
	"testing"
)

// The cases are the documented and the odd rules of Bitcoin Core's ArgsManager;
// TestSettingsAsTheNodeReadsThem holds a real node against the same code.
func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   string // separated by spaces
		config string
		file   string // settings.json
		chain  string
		get    map[string]string   // name to text; "-" is negated, "?" not set
		list   map[string][]string // name to values
	}{
		{
			name:  "one and two dashes, last wins",
			args:  "-rpcport=1 --rpcport=2 -server",
			chain: ChainRegtest,
			get:   map[string]string{"rpcport": "2", "server": "", "port": "?"},
		},
		{
			name:  "arguments end at the first that is no option",
			args:  "-port=1 stop -port=2",
			chain: ChainMain,
			get:   map[string]string{"port": "1"},
		},
		{
			name:  "negation and double negation",
			args:  "-nolisten -noserver=0 -nodebuglogfile=1",
			chain: ChainMain,
			get:   map[string]string{"listen": "-", "server": "1", "debuglogfile": "-"},
		},
		{
			name:   "in a file the first wins, the command line before it",
			args:   "-rpcport=9",
			config: "rpcport=1\nrpcport=2\nrpcuser=a\nrpcuser=b\n",
			chain:  ChainMain,
			get:    map[string]string{"rpcport": "9", "rpcuser": "a"},
		},
		{
			name:   "settings.json between command line and file",
			args:   "-listen=0",
			config: "listen=1\nproxy=file\ndbcache=1\n",
			file:   `{"listen": true, "proxy": "json", "dbcache": 450, "server": false}`,
			chain:  ChainMain,
			get:    map[string]string{"listen": "0", "proxy": "json", "dbcache": "450", "server": "-"},
		},
		{
			name:   "sections and dotted names",
			config: "rpcport=1\nregtest.rpcport=2\n[test]\nrpcport=3\n[regtest]\nrpcuser=r\n",
			chain:  ChainRegtest,
			get:    map[string]string{"rpcport": "2", "rpcuser": "r"},
		},
		{
			name:   "ports of the default section hold for main only",
			config: "rpcport=1\nport=2\nbind=1.2.3.4\nrpcuser=u\n",
			chain:  ChainRegtest,
			get:    map[string]string{"rpcport": "?", "port": "?", "rpcuser": "u"},
			list:   map[string][]string{"bind": nil},
		},
		{
			name:   "and for main they hold",
			config: "rpcport=1\nbind=1.2.3.4\n[main]\nport=7\n",
			chain:  ChainMain,
			get:    map[string]string{"rpcport": "1", "port": "7"},
			list:   map[string][]string{"bind": {"1.2.3.4"}},
		},
		{
			name:   "comments and blanks",
			config: " # comment\n\t rpcuser = me # not me\r\n\n",
			chain:  ChainMain,
			get:    map[string]string{"rpcuser": "me"},
		},
		{
			name:   "lists join command line and file",
			args:   "-bind=a -bind=b",
			config: "[regtest]\nbind=c\n",
			chain:  ChainRegtest,
			list:   map[string][]string{"bind": {"a", "b", "c"}},
		},
		{
			name:   "a negation cancels what is before it and in the file",
			args:   "-bind=a -nobind",
			config: "[regtest]\nbind=c\n",
			chain:  ChainRegtest,
			list:   map[string][]string{"bind": nil},
		},
		{
			name:   "a value after the negation brings the file's back",
			args:   "-bind=a -nobind -bind=b",
			config: "[regtest]\nbind=c\n",
			chain:  ChainRegtest,
			list:   map[string][]string{"bind": {"b", "c"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSettings()
			s.parseCommandLine(strings.Fields(test.args))
			if err := s.parseConfig(test.config); err != nil {
				t.Fatal(err)
			}
			if test.file != "" {
				if err := s.parseSettingsFile([]byte(test.file)); err != nil {
					t.Fatal(err)
				}
			}
			for name, want := range test.get {
				got := "?"
				if v, ok := s.get(test.chain, name); ok {
					if got = v.text; v.negated {
						got = "-"
					}
				}
				if got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			for name, want := range test.list {
				if got := s.list(test.chain, name); !slices.Equal(got, want) {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestChainOfSettings(t *testing.T) {
	for _, test := range []struct {
		args, config, want string
	}{
		{"", "", ChainMain},
		{"-regtest", "", ChainRegtest},
		{"-regtest=0", "", ChainMain},
		{"-testnet", "", ChainTestnet3},
		{"-chain=testnet4", "", ChainTestnet4},
		{"", "signet=1\n", ChainSignet},
		// For chains the last one in a file wins, unlike everything else.
		{"", "regtest=1\nregtest=0\n", ChainMain},
		{"", "regtest=0\nregtest=1\n", ChainRegtest},
		// A negated flag on the command line is passed over.
		{"-noregtest", "regtest=1\n", ChainRegtest},
		{"-regtest=0", "regtest=1\n", ChainMain},
		// A section's chain isn't looked at.
		{"", "[regtest]\nregtest=1\n", ChainMain},
	} {
		s := newSettings()
		s.parseCommandLine(strings.Fields(test.args))
		if err := s.parseConfig(test.config); err != nil {
			t.Fatal(err)
		}
		if got, err := s.chain(); err != nil || got != test.want {
			t.Errorf("%q with %q: chain %q (%v), want %q", test.args, test.config, got, err, test.want)
		}
	}
	s := newSettings()
	s.parseCommandLine([]string{"-chain=moon"})
	if chain, err := s.chain(); err == nil {
		t.Errorf("chain moon is %q, want an error", chain)
	}
}

func TestConfigProblemsNameTheLine(t *testing.T) {
	s := newSettings()
	err := s.parseConfig("rpcport=5\n-listen=1\nnonsense\nrpcuser=u\n")
	if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("error %v, want lines 2 and 3 named", err)
	}
	if got := s.text(ChainMain, "rpcuser", ""); got != "u" {
		t.Errorf("a line after bad ones gives %q, want u", got)
	}
}

func TestNumbersAsTheNodeReadsThem(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "1": true, "0": false, "-1": true, " 7x": true, "yes": false, "true": false,
		"00": false, "99999999999999999999": true, "+": false,
	} {
		if got := isTrue(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("rpcport=1\n[regtest]\nbind=127.0.0.1:5=onion\nnolisten=0\nincludeconf=x\n", "-regtest\x00--nobind\x00-=\x00-no", `{"a":[true,"b",1]}`)
	f.Add("[]\n[\n]=\n=", "--\x00-.=\x00a.b", `[]`)
	f.Fuzz(func(t *testing.T, config, args, file string) {
		s := newSettings()
		_ = s.parseConfig(config)
		s.parseCommandLine(strings.Split(args, "\x00"))
		_ = s.parseSettingsFile([]byte(file))
		chain, err := s.chain()
		if _, known := paramsOf(chain); err == nil && !known {
			t.Fatalf("chain %q is not one", chain)
		}
		in := &inspector{proc: procfs{root: "/nonexistent"}, settings: s, node: &Node{PID: 1, Chain: chain, NetworkDir: "/d"}}
		in.network()
		in.rpc()
		for name := range s.commandLine {
			v, set := s.get(chain, name)
			list := s.list(chain, name)
			// What one way of reading takes for negated the other one too,
			// unless a configuration file has more values.
			if set && v.negated && len(list) > 0 && len(s.sources(chain, name)) == 1 {
				t.Fatalf("%q is negated and has values %q", name, list)
			}
		}
	})
}

func FuzzProcessStat(f *testing.F) {
	f.Add([]byte("12 (a) b (c)) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		_, _ = parseStat(line)
	})
}

func TestProcessStat(t *testing.T) {
	stat, err := parseStat([]byte("12 (a) b (c)) S 3 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (processStat{state: 'S', parent: 3, startTicks: 4711}); stat != want {
		t.Errorf("status %+v, want %+v", stat, want)
	}
}

func TestNodeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"bitcoind": true, "bitcoin-node": true, "bitcoin-qt": true, "bitcoind-29.0": true,
		"bitcoind-v31.0rc1": true, ".bitcoind-wrapped": true, ".bitcoind-wrapp": true, "bitcoind.real": true,
		"bitcoin-cli": false, "bitcoin-wallet": false, "bitcoind_exporter": false, "bitcoin": false,
		"bitcoind-exporter": false, "sh": false, "b-shutoff": false, "bitcoin-util": false,
	} {
		if got := isNodeName(name); got != want {
			t.Errorf("%q is a node: %v, want %v", name, got, want)
		}
	}
}
