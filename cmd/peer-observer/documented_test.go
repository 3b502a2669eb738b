package main

// documented is a command that README.md or a page of docs/ shows in a block, and what
// comes of it in the tests.
type documented struct {
	page string
	// line is as written; lines that go on behind a backslash are one.
	line string

	// by is the test that runs it, not what is below.
	by string
	// cannot says why no test runs it.
	cannot string

	// in is what runs meanwhile, an agent of this program.
	in string
	// works waits until a command that doesn't end by itself does what it is for; that
	// without it ends by itself.
	works func(r *reader, p *program) error
	// repository: it is typed there.
	repository bool
	// first: it is typed before the next one of the block, in the same shell.
	first bool
}

// anAgent is what runs on a machine with a node.
const anAgent = "peer-observer"

// documentedCommands has every command of the documents.
func documentedCommands() []documented {
	const (
		packages = "TestPackages"
		fixtures = "TestCommandsInDocumentsRun"
		long     = "it takes many minutes, and its figures mean nothing on a machine that does something else"
		docker   = "it fetches images, and takes the ports that the file says"
		podman   = "podman wants limits and control groups that a test can't count on"
		evidence = "peer-observer agent --exporter.evidence --exporter.evidence.prometheus-url=http://127.0.0.1:9090"
		login    = "peer-observer --nats.listen-address=192.0.2.1:4222 --nats.user=reader --nats.password-file=nats-password"
	)
	return []documented{
		{page: "README.md", line: "make run", by: "TestDemoWithNothingThere"},
		{page: "README.md", line: "./peer-observer logger                  # every event, one line each", in: anAgent, works: prints},
		{page: "README.md", line: "./peer-observer websocket               # live pages on http://127.0.0.1:9791", in: anAgent, works: answers("http://127.0.0.1:9791/")},
		{page: "README.md", line: "curl -s http://127.0.0.1:9789/metrics   # the same as metrics", in: anAgent},
		{page: "README.md", line: "make test", cannot: "it is what runs this test"},
		{page: "README.md", line: "make packages", by: packages},

		{page: "docs/alerts.md", line: "amtool --alertmanager.url=http://127.0.0.1:9093 silence add instance=HOST:PORT --duration=1h --comment='upgrade'", by: "TestSilence"},
		{page: "docs/alerts.md", line: evidence, works: ready},
		{page: "docs/alerts.md", line: "curl http://127.0.0.1:9789/alerts/evidence/B04", in: evidence},
		{page: "docs/alerts.md", line: "peer-observer alerts backtest archive.*.bin.zst"},
		{page: "docs/alerts.md", line: "peer-observer alerts backtest --threshold=b04_pings=30 --from=2026-01-31T12:00:00Z archive.*.bin.zst"},
		{page: "docs/alerts.md", line: "peer-observer logger --format=json --event=observer.alert_evidence", in: anAgent, works: logs("subscribed")},
		{page: "docs/alerts.md", line: "peer-observer lab incident", by: "TestLabIncident"},
		{page: "docs/alerts.md", line: "peer-observer lab incident reorganization-2026 --output=incident.bin.zst", by: "TestLabIncident"},
		{page: "docs/alerts.md", line: "peer-observer alerts backtest incident.bin.zst", by: "TestIncidents"},
		{page: "docs/alerts.md", line: "peer-observer lab incident honest-busy --output=day.bin.zst", by: "TestHonestTraffic"},
		{page: "docs/alerts.md", line: "peer-observer alerts backtest day.bin.zst", by: "TestHonestTraffic"},

		{page: "docs/archive.md", line: "peer-observer agent --exporter.archive --exporter.archive.dir=/var/lib/peer-observer/archive", works: ready},
		{page: "docs/archive.md", line: "peer-observer archive --nats.url=nats://hub:4222 --dir=DIR        # the same, from NATS", works: logs("subscribed")},
		{page: "docs/archive.md", line: "peer-observer archive info [--json] [--messages] FILE…", by: fixtures},
		{page: "docs/archive.md", line: "peer-observer archive verify [--json] [--strict] FILE…", by: fixtures},
		{page: "docs/archive.md", line: "peer-observer archive cut --from=TIME --until=TIME -o OUT FILE…", by: fixtures},
		{page: "docs/archive.md", line: "peer-observer replay FILE… --to=nats|prometheus|logger --speed=1|N|max [--from=TIME] [--to-time=TIME]", by: "TestArchiveSurvivesKillAndReplays"},

		{page: "docs/benchmarks.md", line: "go test -run '^$' -bench BenchmarkHit -benchtime 11x ./bpf/", cannot: long},
		{page: "docs/benchmarks.md", line: "go test -run '^$' -bench 'BenchmarkSustained|BenchmarkMemory' -benchtime 5x ./bpf/", cannot: long},
		{page: "docs/benchmarks.md", line: "go test -run '^$' -bench BenchmarkPaced -benchtime 3x ./bpf/", cannot: long},
		{page: "docs/benchmarks.md", line: "go test -run '^$' -bench 'BenchmarkEvent|BenchmarkRelayMix' -benchtime 15x ./agent/extractor/ebpf/", cannot: long},
		{page: "docs/benchmarks.md", line: "go test -run '^$' -bench BenchmarkSustained -benchtime 5x ./agent/extractor/ebpf/", cannot: long},

		{page: "docs/configuration.md", line: optionsFile, first: true},
		{page: "docs/configuration.md", line: "set -a; . ./options; set +a", first: true},
		{page: "docs/configuration.md", line: "peer-observer --config.check"},
		{page: "docs/configuration.md", line: "peer-observer --web.listen-address=192.0.2.1:9789 --web.config.file=web.yml", works: answers("https://192.0.2.1:9789/-/ready")},
		{page: "docs/configuration.md", line: "(umask 077; openssl rand -hex 16 > nats-password)"},
		{page: "docs/configuration.md", line: login, works: ready},
		{page: "docs/configuration.md", line: "peer-observer logger --nats.url=nats://192.0.2.1:4222 --nats.user=reader --nats.password-file=nats-password", in: login, works: prints},
		{page: "docs/configuration.md", line: "peer-observer --nats.url=nats://hub.example.org:4222 --nats.subject-prefix=alice.", works: ready},
		{
			page: "docs/configuration.md", line: "peer-observer logger --nats.url=nats://hub.example.org:4222 --nats.subject-prefix='*.'",
			in: "peer-observer --nats.url=nats://hub.example.org:4222 --nats.subject-prefix=alice.", works: prints,
		},
		{page: "docs/configuration.md", line: "peer-observer metrics --nats.url=nats://hub.example.org:4222 --nats.subject-prefix='*.'", works: answers("http://127.0.0.1:9790/metrics")},
		{
			page: "docs/configuration.md", works: ready,
			line: "peer-observer --exporter.archive --exporter.archive.dir=/var/lib/peer-observer/archive --exporter.archive.max-total-size=500GiB --exporter.archive.without-payloads",
		},

		{
			page: "docs/connectivity-check.md", works: logs("subscribed"),
			line: "peer-observer connectivity-check --nats.url=nats://hub:4222 --output=nodes.jsonl --user-agent=/example.org-check:1.0/ [--tor-proxy=127.0.0.1:9050] [--i2p-proxy=127.0.0.1:4447]",
		},

		{
			page: "docs/dashboards.md", cannot: "it takes a quarter of an hour; TestPanelsHaveData is run without pictures of all",
			line: "PEER_OBSERVER_PICTURES=/tmp/pictures go test ./dashboards -run TestPanelsHaveData -timeout 40m -v",
		},

		{page: "docs/fleet.md", line: "cd deploy", cannot: docker},
		{page: "docs/fleet.md", line: "cp compose.env .env                  # and give passwords in it", cannot: docker},
		{page: "docs/fleet.md", line: "docker compose up --detach           # or podman compose", cannot: docker + "; TestCompose checks the file, TestComposeServersRun runs its servers"},
		{page: "docs/fleet.md", line: "peer-observer agent --nats.url=nats://127.0.0.1:4222 --nats.user=agent --nats.password-file=FILE", works: ready},
		{page: "docs/fleet.md", line: "./certificates.sh certificates hub.example.org alice bob carol", by: "TestHubOutage"},
		{page: "docs/fleet.md", line: "./hosts.sh /etc/nats alice bob carol", by: "TestHubOutage"},
		{page: "docs/fleet.md", line: "nats-server --config /etc/nats/hub.conf", by: "TestHubOutage"},
		{page: "docs/fleet.md", line: "nats-server --config /etc/nats/leaf.conf", by: "TestHubOutage"},
		{
			page: "docs/fleet.md", by: "TestHubOutage",
			line: "peer-observer agent --node.name=alice --nats.url=nats://127.0.0.1:4222 --nats.user=agent --nats.password-file=/etc/peer-observer/nats-password --web.listen-address=:9789 --web.config.file=FILE",
		},
		{
			page: "docs/fleet.md", by: "TestHubOutage",
			line: "peer-observer metrics --nats.url=tls://hub.example.org:4222 --nats.tls-ca=authority.crt --nats.user=reader --nats.password-file=FILE --nats.subject-prefix='*.' --metrics.max-nodes=1000",
		},
		{
			page: "docs/fleet.md", by: "TestHubOutage",
			line: "nats --server nats://127.0.0.1:4222 --user operator --password PASSWORD stream add --config history-alice.json",
		},
		{
			page: "docs/fleet.md", by: "TestHubOutage",
			line: "nats --server tls://hub.example.org:4222 --tlsca authority.crt --user operator --password PASSWORD stream add --config history.json",
		},

		{page: "docs/install.md", line: "make packages", by: packages},
		{page: "docs/install.md", line: "sudo apt install ./dist/peer-observer_*_amd64.deb", by: packages},
		{page: "docs/install.md", line: "curl --silent http://127.0.0.1:9789/-/ready", by: packages},
		{page: "docs/install.md", line: "echo rpccookieperms=group | sudo tee --append /etc/bitcoin/bitcoin.conf", by: packages},
		{page: "docs/install.md", line: "sudo usermod --append --groups bitcoin peer-observer", by: packages},
		{page: "docs/install.md", line: "sudo chmod g+r /var/lib/bitcoind/debug.log", by: packages},
		{page: "docs/install.md", line: "sudo systemctl restart bitcoind peer-observer", by: packages},
		{
			page: "docs/install.md", by: packages,
			line: "sudo install -D --mode=644 --target-directory=/etc/systemd/system/peer-observer.service.d /usr/share/peer-observer/systemd/closed-node.conf",
		},
		{page: "docs/install.md", line: "sudo systemctl daemon-reload", by: packages},
		{page: "docs/install.md", line: "sudo systemctl restart peer-observer", by: packages},
		{
			page: "docs/install.md", by: packages, // where the kernel is such a one
			line: "sudo install -D --mode=644 --target-directory=/etc/systemd/system/peer-observer.service.d /usr/share/peer-observer/systemd/linux-6.1.conf",
		},
		{page: "docs/install.md", line: "echo PEER_OBSERVER_EXPORTER_WEBSOCKET=true | sudo tee --append /etc/default/peer-observer", by: packages},
		{page: "docs/install.md", line: "sudo apt remove peer-observer", by: packages},
		{page: "docs/install.md", line: "sudo apt purge peer-observer", by: packages},
		{page: "docs/install.md", line: "sudo dnf install ./dist/peer-observer-*.x86_64.rpm", by: packages},
		{page: "docs/install.md", line: "sudo systemctl enable --now peer-observer", by: packages},
		{page: "docs/install.md", line: "podman build --platform linux/amd64 --tag peer-observer .", cannot: podman + "; TestPackages builds the image with buildah"},
		{
			page: "docs/install.md", cannot: podman + "; TestPackages runs the program with these rights",
			line: "podman run --rm --network=host --pid=host --user=0 --cap-drop=all --cap-add=BPF,PERFMON,DAC_READ_SEARCH,SYS_PTRACE --security-opt=seccomp=unconfined peer-observer",
		},
		{page: "docs/install.md", line: `readelf -n "$(command -v bitcoind)" | grep -c NT_STAPSDT`},
		{page: "docs/install.md", line: "sudo setcap cap_bpf,cap_perfmon+ep ./peer-observer", by: "TestCapabilitiesOfFile"},

		{page: "docs/live-pages.md", line: "peer-observer websocket                # http://127.0.0.1:9791/", in: anAgent, works: answers("http://127.0.0.1:9791/")},
		{page: "docs/live-pages.md", line: "peer-observer --exporter.websocket     # in the agent: http://127.0.0.1:9789/live/", works: answers("http://127.0.0.1:9789/live/")},
		{page: "docs/live-pages.md", line: "peer-observer websocket --websocket.alerts-url=http://127.0.0.1:9090", in: anAgent, works: answers("http://127.0.0.1:9791/")},
		{page: "docs/live-pages.md", line: "peer-observer --exporter.websocket --exporter.websocket.alerts-url=http://127.0.0.1:9093", works: answers("http://127.0.0.1:9789/live/")},

		{page: "docs/migration.md", line: "peer-observer doctor --nats.listen-address=127.0.0.1:4223"},
		{page: "docs/migration.md", line: "peer-observer --nats.listen-address=127.0.0.1:4223", works: ready},
		{page: "docs/migration.md", line: "peer-observer archive info old.bin.zst", by: fixtures},
		{page: "docs/migration.md", line: "peer-observer replay --to=prometheus --speed=max old.bin.zst", works: answers("http://127.0.0.1:9792/metrics")},
		{page: "docs/migration.md", line: "peer-observer archive cut -o converted.bin.zst old.bin.zst", by: fixtures},
		{page: "docs/migration.md", line: "peer-observer --nats.allow-publish", works: ready},

		{page: "docs/otlp.md", line: "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 peer-observer agent", works: ready},
		{page: "docs/otlp.md", line: "otelcol --config=deploy/otel-collector.yaml", repository: true, works: collects},
		{
			page: "docs/otlp.md", works: ready,
			line: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1:9090/api/v1/otlp/v1/metrics OTEL_TRACES_EXPORTER=none peer-observer agent",
		},

		{page: "docs/record-getblocktxn.md", line: "peer-observer record-getblocktxn --output=getblocktxn.jsonl", in: anAgent, works: logs("subscribed")},
		{page: "docs/record-getblocktxn.md", line: "peer-observer record-getblocktxn --output=getblocktxn.csv --format=csv", in: anAgent, works: logs("subscribed")},

		{page: "docs/redaction.md", line: "head -c 32 /dev/urandom > key; chmod 600 key"},
		{page: "docs/redaction.md", line: "peer-observer archive cut --redact-key-file=key -o shared.bin.zst archive.*.bin.zst", by: fixtures},
		{page: "docs/redaction.md", line: "peer-observer agent --exporter.archive --exporter.archive.dir=DIR --exporter.archive.redact-key-file=key", works: ready},
		{page: "docs/redaction.md", line: "peer-observer agent --exporter.websocket --exporter.websocket.redact-key-file=key", works: ready},
		{page: "docs/redaction.md", line: "peer-observer agent --exporter.logger --exporter.logger.redact-key-file=key", works: prints},
		{page: "docs/redaction.md", line: "peer-observer websocket --websocket.redact-key-file=key", in: anAgent, works: answers("http://127.0.0.1:9791/")},
		{page: "docs/redaction.md", line: "peer-observer archive --dir=DIR --redact-key-file=key", in: anAgent, works: logs("subscribed")},
		{page: "docs/redaction.md", line: "peer-observer logger --format=json --redact-key-file=key", in: anAgent, works: prints},
		{page: "docs/redaction.md", line: "peer-observer replay --to=nats|logger --redact-key-file=key FILE…", by: fixtures},

		{page: "docs/scale.md", line: "make scale", cannot: long},
		{page: "docs/stability.md", line: "go test ./cmd/peer-observer -run TestStability -release 0.1.0", cannot: "it writes what the test compares with"},

		{page: "docs/writing-a-tool.md", line: "go run ./docs/examples/first-announcer", by: "TestWritingATool"},
		{page: "docs/writing-a-tool.md", line: "go mod init example.org/tool", by: "TestWritingATool"},
		{
			page: "docs/writing-a-tool.md", by: "TestWritingATool",
			line: "go mod edit -require=github.com/peerobserver/peerobserver@v0.0.0 -replace=github.com/peerobserver/peerobserver=../peerobserver",
		},
		{page: "docs/writing-a-tool.md", line: "go mod tidy && go build", by: "TestWritingATool"},
		{page: "docs/writing-a-tool.md", line: "python3 proto/python/examples/first_announcer.py", by: "TestWritingATool"},
		{page: "docs/writing-a-tool.md", line: "protoc -I proto --java_out=DIR proto/peerobserver/v1/*.proto", repository: true},
		{page: "docs/writing-a-tool.md", line: "python3 proto/python/examples/subscribe.py --decode-raw --count 10", in: anAgent, repository: true},
	}
}

// optionsFile is a file of variables, of which one has several values.
const optionsFile = `cat > options <<'X'
PEER_OBSERVER_NODE_NAME=alice
PEER_OBSERVER_EXTRACTOR_P2P=false
PEER_OBSERVER_EXTRACTOR_EBPF_DROP_MESSAGE="inbound:ping
outbound:pong"
X`
