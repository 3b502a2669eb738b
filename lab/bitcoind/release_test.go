package bitcoind

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const testVersion = "9.9"

// site plays the download site and the server of the keys, over TLS.
type site struct {
	t       *testing.T
	server  *httptest.Server
	signers []*openpgp.Entity
	release Release

	mutex    sync.Mutex
	files    map[string][]byte
	handlers map[string]http.HandlerFunc // instead of files
	requests map[string]int
}

// entry is one file of an archive.
type entry struct {
	header tar.Header
	text   string
}

func program(name, text string) entry {
	return entry{tar.Header{Name: "bitcoin-" + testVersion + "/bin/" + name, Typeflag: tar.TypeReg, Mode: 0o755}, text}
}

const fakeBitcoind = "#!/bin/sh\necho 'Bitcoin Core daemon version v9.9.0'\n"

func goodEntries() []entry {
	return []entry{
		{tar.Header{Name: "bitcoin-" + testVersion + "/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		program("bitcoin-qt", "large"),
		program("bitcoind", fakeBitcoind),
		program("bitcoin-cli", "#!/bin/sh\n"),
	}
}

func archiveOf(t *testing.T, entries []entry) []byte {
	t.Helper()
	var content bytes.Buffer
	compressed := gzip.NewWriter(&content)
	writer := tar.NewWriter(compressed)
	for _, entry := range entries {
		entry.header.Size = int64(len(entry.text))
		if err := writer.WriteHeader(&entry.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, entry.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(writer.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

func newKey(t *testing.T, name string, config *packet.Config) *openpgp.Entity {
	t.Helper()
	if config == nil {
		config = &packet.Config{}
	}
	config.Algorithm = packet.PubKeyAlgoEdDSA
	entity, err := openpgp.NewEntity(name, "", name+"@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return entity
}

func publicKey(t *testing.T, entity *openpgp.Entity) []byte {
	t.Helper()
	var content bytes.Buffer
	writer, err := armor.Encode(&content, openpgp.PublicKeyType, nil)
	if err == nil {
		err = errors.Join(entity.Serialize(writer), writer.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

// newSite is a site with a release that is in order, signed by three signers of
// whom two are demanded.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, files: make(map[string][]byte), handlers: make(map[string]http.HandlerFunc), requests: make(map[string]int)}
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		s.requests[r.URL.Path]++
		handler, content := s.handlers[r.URL.Path], s.files[r.URL.Path]
		s.mutex.Unlock()
		switch {
		case handler != nil:
			handler(w, r)
		case content != nil:
			_, _ = w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	// Connections that are refused on purpose are no news.
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.server.Close)
	s.release = Release{
		Version: testVersion, BaseURL: s.server.URL + "/bin/", KeysURL: s.server.URL + "/keys", Threshold: 2,
		TLS: &tls.Config{RootCAs: s.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		s.addSigner(name, newKey(t, name, nil))
	}
	s.publish(archiveOf(t, goodEntries()))
	return s
}

func (s *site) addSigner(name string, key *openpgp.Entity) {
	s.signers = append(s.signers, key)
	s.release.Signers = append(s.release.Signers, Signer{name, fingerprintOf(key)})
	s.files["/keys/"+name+".gpg"] = publicKey(s.t, key)
}

func (s *site) archivePath() string {
	name, err := s.release.archiveName()
	if err != nil {
		s.t.Fatal(err)
	}
	return "/bin/bitcoin-core-" + testVersion + "/" + name
}

func sumsPath() string { return "/bin/bitcoin-core-" + testVersion + "/SHA256SUMS" }

// publish puts an archive with its checksum and all signers' signatures up.
func (s *site) publish(archive []byte) {
	sum := sha256.Sum256(archive)
	s.files[s.archivePath()] = archive
	s.files[sumsPath()] = []byte(hex.EncodeToString(make([]byte, 32)) + "  bitcoin-" + testVersion + "-codesignatures.tar.gz\n" +
		hex.EncodeToString(sum[:]) + "  " + filepath.Base(s.archivePath()) + "\n")
	// One who isn't known here signs too, as happens.
	s.sign(append(s.signers, newKey(s.t, "mallory", nil))...)
}

func (s *site) sign(signers ...*openpgp.Entity) {
	var signatures bytes.Buffer
	for _, signer := range signers {
		if err := openpgp.ArmoredDetachSign(&signatures, signer, bytes.NewReader(s.files[sumsPath()]), nil); err != nil {
			s.t.Fatal(err)
		}
		signatures.WriteByte('\n')
	}
	s.files[sumsPath()+".asc"] = signatures.Bytes()
}

// withoutOthers makes a machine without any other way to a bitcoind.
func withoutOthers(t *testing.T) {
	t.Helper()
	t.Setenv(EnvBinary, "")
	t.Setenv("PATH", t.TempDir())
}

func TestReleaseIsFetchedOnce(t *testing.T) {
	withoutOthers(t)
	s := newSite(t)
	cache := t.TempDir()
	var wait sync.WaitGroup
	var progress bytes.Buffer
	for i := range 3 {
		options := Options{CacheDir: cache, Release: s.release}
		if i == 0 {
			options.Progress = &progress
		}
		wait.Go(func() {
			binary, err := Find(t.Context(), options)
			if err != nil {
				t.Error(err)
				return
			}
			if binary.Origin != OriginRelease || binary.Version != "v9.9.0" || binary.HasTracepoints ||
				binary.Path != filepath.Join(cache, "bitcoin-core-"+testVersion, "bitcoind") ||
				binary.CLIPath != filepath.Join(cache, "bitcoin-core-"+testVersion, "bitcoin-cli") {
				t.Errorf("found %+v", binary)
			}
		})
	}
	wait.Wait()
	if count := s.requests[s.archivePath()]; count != 1 {
		t.Errorf("the archive was fetched %d times, want once", count)
	}
	if progress.Len() == 0 {
		t.Error("no line of progress")
	}
	s.server.Close()
	if binary, err := Find(t.Context(), Options{CacheDir: cache, Release: s.release}); err != nil || binary.Origin != OriginRelease {
		t.Errorf("from the cache: %+v (%v)", binary, err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 2 { // the release and the lock
		t.Errorf("left in the cache: %v (%v)", entries, err)
	}
}

func TestReleaseThatIsNotInOrder(t *testing.T) {
	past := func() time.Time { return time.Now().Add(-72 * time.Hour) }
	for _, test := range []struct {
		name   string
		change func(*site)
		verify bool   // an ErrVerification
		part   string // of the error's text
	}{
		{"altered archive", func(s *site) {
			s.files[s.archivePath()] = append(s.files[s.archivePath()], 0)
		}, true, "SHA-256"},
		{"altered checksums", func(s *site) {
			s.files[sumsPath()] = append(s.files[sumsPath()], '\n')
		}, true, "0 good signatures"},
		{"signatures cut short", func(s *site) {
			signatures := s.files[sumsPath()+".asc"]
			s.files[sumsPath()+".asc"] = signatures[:len(signatures)-40]
		}, true, "SHA256SUMS.asc"},
		{"signatures of another text", func(s *site) {
			sums := s.files[sumsPath()]
			s.files[sumsPath()] = []byte("other")
			s.sign(s.signers...)
			s.files[sumsPath()] = sums
		}, true, "0 good signatures"},
		{"no signature", func(s *site) { s.files[sumsPath()+".asc"] = []byte("hello") }, true, "no signature"},
		{"one signer", func(s *site) { s.sign(s.signers[0]) }, true, "1 good signatures"},
		{"one signer twice", func(s *site) { s.sign(s.signers[0], s.signers[0]) }, true, "1 good signatures"},
		{"unknown signers", func(s *site) { s.sign(newKey(s.t, "x", nil), newKey(s.t, "y", nil), s.signers[2]) }, true, "1 good signatures"},
		{"keys with other fingerprints", func(s *site) {
			s.signers = []*openpgp.Entity{newKey(s.t, "alice", nil), newKey(s.t, "bob", nil)}
			s.files["/keys/alice.gpg"], s.files["/keys/bob.gpg"] = publicKey(s.t, s.signers[0]), publicKey(s.t, s.signers[1])
			s.sign(s.signers...)
		}, true, "pinned"},
		{"expired keys", func(s *site) {
			s.signers, s.release.Signers = nil, nil
			for _, name := range []string{"alice", "bob"} {
				s.addSigner(name, newKey(s.t, name, &packet.Config{Time: past, KeyLifetimeSecs: 3600}))
			}
			var signatures bytes.Buffer
			for _, signer := range s.signers {
				if err := openpgp.ArmoredDetachSign(&signatures, signer, bytes.NewReader(s.files[sumsPath()]), &packet.Config{Time: past}); err != nil {
					s.t.Fatal(err)
				}
			}
			s.files[sumsPath()+".asc"] = signatures.Bytes()
		}, true, "expired"},
		{"revoked keys", func(s *site) {
			for i, name := range []string{"alice", "bob"} {
				if err := s.signers[i].RevokeKey(packet.KeyCompromised, "stolen", nil); err != nil {
					s.t.Fatal(err)
				}
				s.files["/keys/"+name+".gpg"] = publicKey(s.t, s.signers[i])
			}
		}, true, "1 good signatures"},
		{"not listed", func(s *site) {
			s.files[sumsPath()] = []byte(strings.Repeat("0", 64) + "  other.tar.gz\n")
			s.sign(s.signers...)
		}, true, "does not list"},
		{"path that leads outside", func(s *site) {
			s.publish(archiveOf(s.t, append(goodEntries(), entry{tar.Header{Name: "../../evil", Typeflag: tar.TypeReg, Mode: 0o755}, "x"})))
		}, true, "leads outside"},
		{"absolute path", func(s *site) {
			s.publish(archiveOf(s.t, append(goodEntries(), entry{tar.Header{Name: "/tmp/evil", Typeflag: tar.TypeReg}, "x"})))
		}, true, "leads outside"},
		{"symbolic link for a program", func(s *site) {
			link := program("bitcoind", "")
			link.header.Typeflag, link.header.Linkname = tar.TypeSymlink, "/bin/sh"
			s.publish(archiveOf(s.t, []entry{link, program("bitcoin-cli", "x")}))
		}, true, "no regular file"},
		{"program twice", func(s *site) {
			s.publish(archiveOf(s.t, append(goodEntries(), program("bitcoind", "other"))))
		}, true, "twice"},
		{"program missing", func(s *site) {
			s.publish(archiveOf(s.t, goodEntries()[:3]))
		}, true, "has no"},
		{"no archive but text", func(s *site) { s.publish([]byte("<html>")) }, true, "archive of"},
		{"program that doesn't run", func(s *site) {
			s.publish(archiveOf(s.t, []entry{program("bitcoind", "\x7fELF"), program("bitcoin-cli", "x")}))
		}, false, "exec format error"},
		{"cut short", func(s *site) {
			s.handlers[s.archivePath()] = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000000")
				_, _ = w.Write(make([]byte, 1000))
			}
		}, false, "unexpected EOF"},
		{"huge by its length", func(s *site) {
			s.handlers[sumsPath()] = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "99999999999")
				w.WriteHeader(200)
			}
		}, false, errTooLarge.Error()},
		{"huge without saying so", func(s *site) {
			s.handlers[sumsPath()] = func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}
		}, false, errTooLarge.Error()},
		{"redirect to a server without TLS", func(s *site) {
			plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.t.Error("reached") }))
			s.t.Cleanup(plain.Close)
			s.handlers[sumsPath()] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }
		}, false, "away from https"},
		{"no such release", func(s *site) { s.release.Version = "1.2" }, false, "404"},
		{"keys out of reach", func(s *site) { delete(s.files, "/keys/alice.gpg"); delete(s.files, "/keys/bob.gpg") }, false, "1 signers' keys"},
		{"another certificate", func(s *site) { s.release.TLS = nil }, false, "certificate"},
		{"no threshold", func(s *site) { s.release.Threshold = 0 }, false, "at least 1"},
		{"version with a path", func(s *site) { s.release.Version = "../9.9" }, false, "not a version"},
		{"the same signer listed twice", func(s *site) { s.release.Signers = append(s.release.Signers, s.release.Signers[0]) }, false, "twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			withoutOthers(t)
			s := newSite(t)
			test.change(s)
			cache := t.TempDir()
			binary, err := Find(t.Context(), Options{CacheDir: cache, Release: s.release})
			if err == nil {
				t.Fatalf("found %+v", binary)
			}
			if errors.Is(err, ErrVerification) != test.verify || errors.Is(err, ErrNotFound) == test.verify || !strings.Contains(err.Error(), test.part) {
				t.Errorf("error %v, want verification failed: %v, with %q", err, test.verify, test.part)
			}
			entries, err := os.ReadDir(cache)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				if entry.Name() != "lock" {
					t.Errorf("%s is left in the cache", entry.Name())
				}
			}
		})
	}
}

func TestKeysFromADirectory(t *testing.T) {
	withoutOthers(t)
	s := newSite(t)
	s.release.KeysURL, s.release.KeysDir = "", t.TempDir()
	// One key is missing, which leaves enough; one isn't armored.
	var raw bytes.Buffer
	if err := s.signers[1].Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"alice": s.files["/keys/alice.gpg"], "bob": raw.Bytes()} {
		if err := os.WriteFile(filepath.Join(s.release.KeysDir, name+".gpg"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Find(t.Context(), Options{CacheDir: t.TempDir(), Release: s.release}); err != nil {
		t.Error(err)
	}
	for path := range s.requests {
		if strings.HasPrefix(path, "/keys/") {
			t.Errorf("%s was fetched", path)
		}
	}
}

func TestSignaturesInOneBlock(t *testing.T) {
	signed := []byte("text")
	alice, bob := newKey(t, "alice", nil), newKey(t, "bob", nil)
	var content bytes.Buffer
	writer, err := armor.Encode(&content, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, signer := range []*openpgp.Entity{alice, bob} {
		if err := openpgp.DetachSign(writer, signer, bytes.NewReader(signed), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	keys := []signerKey{{Signer{"alice", fingerprintOf(alice)}, alice}, {Signer{"bob", fingerprintOf(bob)}, bob}}
	good, rejected, err := verifySignatures(signed, content.Bytes(), keys, time.Now())
	if err != nil || fmt.Sprint(good) != "[alice bob]" || len(rejected) != 0 {
		t.Errorf("good %v, rejected %v, error %v", good, rejected, err)
	}
}

func TestUnreachableSiteFailsAtOnce(t *testing.T) {
	withoutOthers(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	release := DefaultRelease()
	release.BaseURL = "https://" + address
	var progress bytes.Buffer
	_, err = Find(t.Context(), Options{CacheDir: t.TempDir(), Release: release, Progress: &progress})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "$"+EnvBinary) {
		t.Errorf("error %v, want ErrNotFound that says why and what helps", err)
	}
	if !strings.Contains(progress.String(), "the official release can't be had here") {
		t.Errorf("progress %q", &progress)
	}
}

func TestDefaultReleaseDemandsSignatures(t *testing.T) {
	release := DefaultRelease()
	if err := release.check(); err != nil {
		t.Error(err)
	}
	if release.Threshold < 3 || !strings.HasPrefix(release.BaseURL, "https://") || !strings.HasPrefix(release.KeysURL, "https://") || release.TLS != nil {
		t.Errorf("%+v", release)
	}
}

func FuzzSignatures(f *testing.F) {
	f.Add([]byte(armorBegin+"\n\niHUEABYIAB0=\n"+armorEnd), []byte("text"))
	entity, err := openpgp.NewEntity("a", "", "a@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		f.Fatal(err)
	}
	var signature bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&signature, entity, strings.NewReader("text"), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(signature.Bytes(), []byte("text"))
	keys := []signerKey{{Signer{"a", fingerprintOf(entity)}, entity}}
	f.Fuzz(func(t *testing.T, signatures, signed []byte) {
		good, _, _ := verifySignatures(signed, signatures, keys, time.Now())
		if len(good) > 0 && string(signed) != "text" {
			t.Fatalf("a signature of %q counts for %q", "text", signed)
		}
		_, _ = keyWithFingerprint(signatures, keys[0].signer.Fingerprint)
		_, _ = checksumOf(signed, "x")
	})
}
