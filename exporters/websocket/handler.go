package websocket

import (
	"context"
	"embed"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/coder/websocket"
)

//go:embed pages
var pages embed.FS

// contentSecurityPolicy lets the pages load what is served with them and nothing else.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Socket gives the handler of WebSocket connections.
func (s *Sink) Socket() http.Handler { return http.HandlerFunc(s.socket) }

// Pages gives the handler of the live pages, with the socket they use at ws. It wants to
// be at the root: use http.StripPrefix.
func (s *Sink) Pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", s.socket)
	root, err := fs.Sub(pages, "pages")
	if err != nil {
		// Not with a constant name; if it were, the pages would be missing.
		s.logger.Error("live pages are missing", "err", err)
		return mux
	}
	files := http.FileServerFS(root)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") && r.URL.Path != "/" {
			http.NotFound(w, r) // no lists of files
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", contentSecurityPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		// The files have no dates; another version of the program has other ones.
		header.Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	})
	return mux
}

// socket admits a client and serves it until either side ends.
func (s *Sink) socket(w http.ResponseWriter, r *http.Request) {
	if !s.trusted(r) {
		s.logger.Warn("WebSocket connection of a foreign page refused", "origin", r.Header.Get("Origin"), "host", r.Host)
		http.Error(w, "This origin may not connect: see the flag for allowed origins.", http.StatusForbidden)
		return
	}
	// What a client does doesn't end with the request's context once it is hijacked.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	c := &client{limit: s.config.ClientBuffer, cancel: cancel, ready: make(chan struct{}, 1)}
	if !s.enter(c) {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many clients.", http.StatusServiceUnavailable)
		return
	}
	defer s.working.Done()
	defer s.leave(c)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // trusted checks more
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		s.logger.Debug("no WebSocket connection", "err", err)
		return
	}
	conn.SetReadLimit(maxRequest)
	c.conn = conn
	s.serve(ctx, c)
}

// trusted says whether the page that a browser shows may connect. Programs send no
// origin; whether they may connect is a matter of --web.config.file.
//
// A page of the same origin is not enough: a foreign one can have its name point to this
// server (DNS rebinding), which then is the host of both. So that has to be an address,
// a name of this machine or an allowed one.
func (s *Sink) trusted(r *http.Request) bool {
	text := r.Header.Get("Origin")
	if text == "" {
		return true
	}
	origin, err := url.Parse(text)
	if err != nil || origin.Host == "" {
		return false
	}
	for _, pattern := range s.config.Origins {
		for _, host := range []string{origin.Host, origin.Hostname()} {
			if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(host)); err == nil && ok {
				return true
			}
		}
	}
	return strings.EqualFold(origin.Host, r.Host) && s.ownName(r.Host)
}

// ownName says whether a host, with or without port, is an address or names this machine.
func (s *Sink) ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || s.hostname != "" && host == strings.ToLower(s.hostname)
}
