package nats_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

// passes sends one event with a login and fails when it doesn't arrive.
func passes(t *testing.T, x *external, cfg nats.Config, reader ...natsgo.Option) {
	t.Helper()
	observer := newPlain(t, cfg.URL, event.SubjectRPC, reader...)
	r := newRig(t, nats.PublisherConfig{Connection: cfg})
	start(t, r.publisher)
	r.emit()
	eventually(t, "event", func() bool { return observer.seen() == 1 })
	subscriber, _, _ := newSubscriber(t, nats.SubscriberConfig{Connection: cfg})
	start(t, subscriber)
	eventually(t, "subscriber connected", func() bool { up, _ := subscriber.State(); return up })
}

// refused checks the error of a login.
func refused(t *testing.T, cfg nats.Config, wants ...string) {
	t.Helper()
	_, err := nats.Check(t.Context(), cfg)
	if err == nil {
		t.Fatal("the login was accepted")
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}

func TestUserAndPassword(t *testing.T) {
	x := newExternal(t, `authorization { user: "po", password: "s3cret" }`)
	x.start()
	cfg := nats.Config{URL: x.url(), User: "po", PasswordFile: writeFile(t, "s3cret\n")}
	passes(t, x, cfg, natsgo.UserInfo("po", "s3cret"))
	refused(t, nats.Config{URL: x.url(), User: "po", PasswordFile: writeFile(t, "other")}, "refused the login", "--nats.user", "--nats.password-file", x.url())
	refused(t, nats.Config{URL: x.url()}, "refused the login")
	refused(t, nats.Config{URL: x.url(), User: "po", PasswordFile: "/nonexistent"}, "--nats.password-file")
}

// TestWrongPasswordIsTriedAgain corrects the password while the publisher and the
// subscriber run.
func TestWrongPasswordIsTriedAgain(t *testing.T) {
	x := newExternal(t, `authorization { user: "po", password: "s3cret" }`)
	x.start()
	file := writeFile(t, "wrong")
	cfg := nats.Config{URL: x.url(), User: "po", PasswordFile: file}
	r := newRig(t, nats.PublisherConfig{Connection: cfg})
	observer := newPlain(t, x.url(), event.SubjectRPC, natsgo.UserInfo("po", "s3cret"))
	start(t, r.publisher)
	r.emit()
	eventually(t, "the refusal is logged", func() bool { return strings.Contains(r.log.String(), "refused the login") })
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "event", func() bool { return observer.seen() == 1 })
	if strings.Contains(r.log.String(), "s3cret") {
		t.Error("the password is in the log")
	}
}

func TestNKey(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	x := newExternal(t, fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", public))
	x.start()
	file := writeFile(t, string(seed))
	option, err := natsgo.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	passes(t, x, nats.Config{URL: x.url(), NKey: file}, option)
	stranger, _ := nkeys.CreateUser()
	other, _ := stranger.Seed()
	refused(t, nats.Config{URL: x.url(), NKey: writeFile(t, string(other))}, "refused the login", "--nats.nkey")
	refused(t, nats.Config{URL: x.url(), NKey: writeFile(t, "no seed")}, "--nats.nkey")
}

func TestCredentials(t *testing.T) {
	operator, _ := nkeys.CreateOperator()
	operatorKey, _ := operator.PublicKey()
	account, _ := nkeys.CreateAccount()
	accountKey, _ := account.PublicKey()
	user, _ := nkeys.CreateUser()
	userKey, _ := user.PublicKey()
	userSeed, _ := user.Seed()
	operatorJWT, err := jwt.NewOperatorClaims(operatorKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(userJWT, userSeed)
	if err != nil {
		t.Fatal(err)
	}
	x := newExternal(t, fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }", operatorJWT, accountKey, accountJWT))
	x.start()
	file := writeFile(t, string(creds))
	passes(t, x, nats.Config{URL: x.url(), Credentials: file}, natsgo.UserCredentials(file))
	refused(t, nats.Config{URL: x.url(), Credentials: "/nonexistent"}, "--nats.creds")
	refused(t, nats.Config{URL: x.url()}, "refused the login", "--nats.creds")
}

// authority is a certificate authority for tests.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue makes a certificate and its key.
func (a *authority) issue(name string, ips ...net.IP) (cert, key string) {
	a.t.Helper()
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	ca := filepath.Join(a.dir, "ca.pem")
	serverCert, serverKey := a.issue("server", net.IPv4(127, 0, 0, 1))
	clientCert, clientKey := a.issue("client")
	x := newExternal(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", serverCert, serverKey, ca))
	x.start()
	url := strings.Replace(x.url(), "nats://", "tls://", 1)
	cfg := nats.Config{URL: url, TLSCA: ca, TLSCert: clientCert, TLSKey: clientKey}
	passes(t, x, cfg, natsgo.RootCAs(ca), natsgo.ClientCert(clientCert, clientKey))

	refused(t, nats.Config{URL: url, TLSCert: clientCert, TLSKey: clientKey}, "--nats.tls-ca")
	refused(t, nats.Config{URL: url, TLSCA: ca}, "--nats.tls-cert")
	refused(t, nats.Config{URL: strings.Replace(url, "127.0.0.1", "localhost", 1), TLSCA: ca, TLSCert: clientCert, TLSKey: clientKey}, "--nats.url")
	refused(t, nats.Config{URL: url, TLSCA: writeFile(t, "no certificate")}, "--nats.tls-ca", "no PEM certificate")
	refused(t, nats.Config{URL: url, TLSCA: ca, TLSCert: clientCert, TLSKey: serverKey}, "--nats.tls-key")

	plain := newExternal(t, "")
	plain.start()
	refused(t, nats.Config{URL: plain.url(), TLSCA: ca}, "doesn't speak TLS")
}

func TestConfigurationErrorsNameTheFlags(t *testing.T) {
	for _, test := range []struct {
		cfg  nats.Config
		want string
	}{
		{nats.Config{URL: "nats://user:pw@[::1"}, "--nats.url"},
		{nats.Config{URL: "http://127.0.0.1:4222"}, "http"},
		{nats.Config{URL: "nats://127.0.0.1:4222,,"}, "--nats.url"},
		{nats.Config{User: "u"}, "--nats.password-file"},
		{nats.Config{PasswordFile: "f"}, "--nats.user"},
		{nats.Config{NKey: "f", Credentials: "g"}, "only one"},
		{nats.Config{TLSCert: "f"}, "--nats.tls-key"},
	} {
		_, err := nats.Check(t.Context(), test.cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v", test.cfg, err)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("password in error: %v", err)
		}
	}
	refused(t, nats.Config{URL: "127.0.0.1:1"}, "nats://127.0.0.1:1", "start it", "--nats.url")
}

func TestNoPasswordInWhatIsShown(t *testing.T) {
	for given, want := range map[string]string{
		"nats://user:secret@host:4222": "nats://user:xxxxx@host:4222",
		"nats://secret@host:4222":      "nats://xxxxx@host:4222",
		"a:1, tls://u:secret@b:2":      "nats://a:1,tls://u:xxxxx@b:2",
		"":                             "nats://127.0.0.1:4222",
	} {
		cfg := nats.Config{URL: given}
		if got := cfg.Redacted(); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}
