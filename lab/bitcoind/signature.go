package bitcoind

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// maxSignatures bounds how many signatures of one file are looked at. A release
// has some twenty.
const maxSignatures = 200

// signerKey is a signer with the key that has the signer's fingerprint.
type signerKey struct {
	signer Signer
	entity *openpgp.Entity
}

// keys gets the signers' keys. A key that can't be had or that has another
// fingerprint is left out, with a line of progress; too few make an error.
func (r Release) keys(ctx context.Context, d *downloader) ([]signerKey, error) {
	var keys []signerKey
	var problems []error
	wrong := 0
	for _, signer := range r.Signers {
		content, err := r.keyFile(ctx, d, signer)
		if err != nil {
			problems = append(problems, err)
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				break
			}
			continue
		}
		entity, err := keyWithFingerprint(content, signer.Fingerprint)
		if err != nil {
			wrong++
			fmt.Fprintf(d.progress, "bitcoind: key of %s not used: %v\n", signer.Name, err)
			problems = append(problems, fmt.Errorf("key of %s: %w", signer.Name, err))
			continue
		}
		keys = append(keys, signerKey{signer, entity})
	}
	if len(keys) >= r.Threshold {
		return keys, nil
	}
	err := fmt.Errorf("%d signers' keys of at least %d could be had: %w", len(keys), r.Threshold, errors.Join(problems...))
	if wrong > 0 {
		return nil, fmt.Errorf("%w: %w", ErrVerification, err)
	}
	return nil, err
}

// keyFile reads a signer's key from the directory, or else from the server.
func (r Release) keyFile(ctx context.Context, d *downloader, signer Signer) ([]byte, error) {
	if r.KeysDir != "" {
		file, err := os.Open(filepath.Join(r.KeysDir, signer.Name+".gpg"))
		if err == nil {
			defer file.Close()
			return io.ReadAll(io.LimitReader(file, maxKeyBytes))
		}
		if r.KeysURL == "" {
			return nil, err
		}
	}
	return d.get(ctx, strings.TrimSuffix(r.KeysURL, "/")+"/"+signer.Name+".gpg", maxKeyBytes)
}

// keyWithFingerprint picks from a file, armored or not, the key whose primary
// key has the fingerprint.
func keyWithFingerprint(content []byte, fingerprint string) (*openpgp.Entity, error) {
	var ring openpgp.EntityList
	var err error
	if bytes.Contains(content, []byte("-----BEGIN PGP")) {
		ring, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(content))
	} else {
		ring, err = openpgp.ReadKeyRing(bytes.NewReader(content))
	}
	var found []string
	for _, entity := range ring {
		has := fingerprintOf(entity)
		if has == fingerprint {
			return entity, nil
		}
		found = append(found, has)
	}
	if err != nil {
		return nil, fmt.Errorf("not an OpenPGP key: %w", err)
	}
	return nil, fmt.Errorf("fingerprint is %s, not the pinned %s", strings.Join(found, ", "), fingerprint)
}

func fingerprintOf(entity *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(entity.PrimaryKey.Fingerprint))
}

// verifySignatures returns the names of the signers who have a good signature
// over signed, and why signatures of other signers don't count. Signatures by
// people who aren't among the signers are passed over: a release has those too.
// Keys must be valid at now, and signatures not be from the future.
func verifySignatures(signed, signatures []byte, keys []signerKey, now time.Time) (good []string, rejected []error, err error) {
	ring := make(openpgp.EntityList, len(keys))
	nameOf := make(map[string]string, len(keys))
	for i, key := range keys {
		ring[i] = key.entity
		nameOf[key.signer.Fingerprint] = key.signer.Name
	}
	packets, err := splitSignatures(signatures)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: SHA256SUMS.asc: %w", ErrVerification, err)
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	for _, signature := range packets {
		_, entity, err := openpgp.VerifyDetachedSignature(ring, bytes.NewReader(signed), bytes.NewReader(signature), config)
		switch {
		case errors.Is(err, pgperrors.ErrUnknownIssuer):
		case err != nil && entity != nil:
			rejected = append(rejected, fmt.Errorf("%s: %w", nameOf[fingerprintOf(entity)], err))
		case err != nil:
			rejected = append(rejected, err)
		default:
			if name := nameOf[fingerprintOf(entity)]; name != "" && !slices.Contains(good, name) {
				good = append(good, name)
			}
		}
	}
	slices.Sort(good)
	return good, rejected, nil
}

const (
	armorBegin = "-----BEGIN PGP SIGNATURE-----"
	armorEnd   = "-----END PGP SIGNATURE-----"
)

// splitSignatures takes a file of armored blocks, each with one or more
// signatures, apart into single signature packets.
func splitSignatures(text []byte) ([][]byte, error) {
	var packets [][]byte
	for {
		begin := bytes.Index(text, []byte(armorBegin))
		if begin < 0 {
			break
		}
		end := bytes.Index(text[begin:], []byte(armorEnd))
		if end < 0 {
			return nil, errors.New("cut short")
		}
		end += begin + len(armorEnd)
		block, err := armor.Decode(bytes.NewReader(text[begin:end]))
		if err != nil {
			return nil, err
		}
		text = text[end:]
		for reader := packet.NewOpaqueReader(block.Body); ; {
			next, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			if len(packets) >= maxSignatures {
				return nil, fmt.Errorf("more than %d signatures", maxSignatures)
			}
			var single bytes.Buffer
			if err := next.Serialize(&single); err != nil {
				return nil, err
			}
			packets = append(packets, single.Bytes())
		}
	}
	if len(packets) == 0 {
		return nil, errors.New("holds no signature")
	}
	return packets, nil
}

// checksumOf finds a file's SHA-256 in the text of SHA256SUMS.
func checksumOf(sums []byte, name string) (string, error) {
	for line := range strings.Lines(string(sums)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || strings.TrimPrefix(fields[1], "*") != name {
			continue
		}
		if raw, err := hex.DecodeString(fields[0]); err != nil || len(raw) != 32 {
			return "", fmt.Errorf("%w: SHA256SUMS: no SHA-256 for %s", ErrVerification, name)
		}
		return strings.ToLower(fields[0]), nil
	}
	return "", fmt.Errorf("%w: SHA256SUMS does not list %s", ErrVerification, name)
}
