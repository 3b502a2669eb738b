package bitcoind

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"time"
)

// progressInterval is how often a long download says how far it is.
const progressInterval = 5 * time.Second

var errTooLarge = errors.New("larger than any such file should be")

// get fetches a small file.
func (d *downloader) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	var content bytes.Buffer
	if err := d.copy(ctx, url, &content, limit, false); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// getFile fetches a large file to a new file at target, with progress, and
// returns its SHA-256 in hexadecimal.
func (d *downloader) getFile(ctx context.Context, url, target string, limit int64) (string, error) {
	file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	err = errors.Join(d.copy(ctx, url, io.MultiWriter(file, hash), limit, true), file.Close())
	return hex.EncodeToString(hash.Sum(nil)), err
}

// copy fetches url into w. A server that is silent for too long, or that sends
// more than limit bytes or less than it announced, makes an error.
func (d *downloader) copy(ctx context.Context, url string, w io.Writer, limit int64, tell bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failed := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("downloading %s: %w", url, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return failed(err)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return err // names the URL itself
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return failed(fmt.Errorf("server answers %s", response.Status))
	}
	if response.ContentLength > limit {
		return failed(fmt.Errorf("%w: %d bytes", errTooLarge, response.ContentLength))
	}
	stalled := time.AfterFunc(stallTimeout, func() {
		cancel(fmt.Errorf("nothing arrived for %v", stallTimeout))
	})
	defer stalled.Stop()
	body := &meteredReader{r: response.Body, total: response.ContentLength, arrived: func() { stalled.Reset(stallTimeout) }}
	if tell {
		body.tell = func(done, total int64) {
			if total > 0 {
				fmt.Fprintf(d.progress, "bitcoind: %s: %d of %d MB\n", path.Base(url), done>>20, total>>20)
			} else {
				fmt.Fprintf(d.progress, "bitcoind: %s: %d MB\n", path.Base(url), done>>20)
			}
		}
	}
	written, err := io.Copy(w, io.LimitReader(body, limit+1))
	if err != nil {
		return failed(err)
	}
	if written > limit {
		return failed(errTooLarge)
	}
	return nil
}

// meteredReader reports progress from time to time.
type meteredReader struct {
	r           io.Reader
	done, total int64
	arrived     func()
	tell        func(done, total int64)
	told        time.Time
}

func (m *meteredReader) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		m.done += int64(n)
		m.arrived()
	}
	if m.tell != nil && (err == io.EOF || time.Since(m.told) >= progressInterval) {
		m.told = time.Now()
		m.tell(m.done, m.total)
	}
	return n, err
}
