package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// certificate makes a self-signed certificate for 127.0.0.1, and a configuration of the web
// server with it.
func certificate(t *testing.T) (webConfig string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"web.yml":  []byte("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "web.yml"), roots
}

// With TLS the pages come over https, what they load does, and their events over wss; over
// http and ws there is nothing.
func TestLivePagesWithTLS(t *testing.T) {
	server, err := nats.NewServer(nats.ServerConfig{ListenAddress: "127.0.0.1:0", AllowPublish: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	config, roots := certificate(t)
	web := freeAddress(t)
	start(t, nil, "websocket", "--nats.url="+server.URL(), "--web.listen-address="+web, "--web.config.file="+config)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	for path, text := range map[string]string{"/": "<title>peer-observer</title>", "/js/main.js": "picker", "/metrics": "peerobserver_build_info"} {
		eventually(t, "https "+path, func() error {
			response, err := client.Get("https://" + web + path)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(body), text)) {
				err = fmt.Errorf("status %d, %.200s", response.StatusCode, body)
			}
			return err
		})
	}
	if code, body, err := get("http://" + web + "/"); err == nil && (code == http.StatusOK || strings.Contains(body, "<title>")) {
		t.Errorf("over http: %d, %s", code, body)
	}
	if conn, _, err := websocket.Dial(t.Context(), "ws://"+web+"/ws", nil); err == nil {
		_ = conn.CloseNow()
		t.Error("events are sent over ws")
	}
	if _, err := http.Get("https://" + web + "/"); err == nil {
		t.Error("a certificate that nobody has signed is taken")
	}

	conn, _, err := websocket.Dial(t.Context(), "wss://"+web+"/ws", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"observer":true,"notices":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := conn.Read(t.Context()); err != nil || string(text) != `{"notice":{"subscribed":true}}` {
		t.Fatalf("over wss: %s, %v", text, err)
	}
	told := statusOverNATS(t, server)
	eventually(t, "an event over wss", func() error {
		told()
		_, text, err := conn.Read(t.Context())
		if err == nil && !strings.Contains(string(text), `"node_name":"encrypted"`) {
			err = fmt.Errorf("got %s", text)
		}
		return err
	})

	// The browser is told to trust any certificate: it is there for what the page loads.
	b := startBrowser(t, "--ignore-certificate-errors")
	b.open("https://" + web + "/#/overview")
	eventually(t, "the node on the page", func() error {
		told()
		if text := b.text(); !strings.Contains(text, "Connected") || !strings.Contains(text, "encrypted") {
			return fmt.Errorf("not in %s", text)
		}
		return nil
	})
	var urls []string
	b.evaluate(`performance.getEntriesByType("resource").map((entry) => entry.name)`, &urls)
	for _, url := range urls {
		if !strings.HasPrefix(url, "https://"+web+"/") {
			t.Errorf("the page loads %s", url)
		}
	}
	if len(urls) < 5 {
		t.Errorf("the page loads only %v", urls)
	}
	b.content()
}

// statusOverNATS gives a function that publishes the state of a node.
func statusOverNATS(t *testing.T, server *nats.Server) func() {
	t.Helper()
	ledger := event.NewLedger()
	publisher, err := nats.NewPublisher(nats.PublisherConfig{Connection: nats.Config{InProcess: server}}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	inBackground(t, publisher)
	emitter := event.NewEmitter(event.SourceObserver, event.Origin{NodeName: "encrypted", BootID: 1}, event.NewStream(publisher), ledger)
	return func() {
		emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{
			ObserverEvent: &eventpb.Observer_Status{Status: &eventpb.Status{}},
		}}}, event.Times{})
	}
}
